//! Network devices: `/proc/net/dev`, and what sysfs says of them.

use crate::metrics::exposition::{Exposition, Kind, Labels};
use crate::model::{Interface, NetIo};

type Column = (&'static str, &'static str, fn(&NetIo) -> u64);

const COLUMNS: &[Column] = &[
    ("node_network_receive_bytes_total", "Bytes received.", |d| d.receive_bytes),
    ("node_network_receive_packets_total", "Packets received.", |d| d.receive_packets),
    ("node_network_receive_errs_total", "Packets received with a fault.", |d| d.receive_errs),
    ("node_network_receive_drop_total", "Packets dropped on their way in.", |d| d.receive_drop),
    ("node_network_receive_fifo_total", "Packets lost because a receive buffer was full.", |d| d.receive_fifo),
    ("node_network_receive_frame_total", "Packets received with a broken frame.", |d| d.receive_frame),
    ("node_network_receive_compressed_total", "Compressed packets received.", |d| d.receive_compressed),
    ("node_network_receive_multicast_total", "Multicast packets received.", |d| d.receive_multicast),
    ("node_network_transmit_bytes_total", "Bytes sent.", |d| d.transmit_bytes),
    ("node_network_transmit_packets_total", "Packets sent.", |d| d.transmit_packets),
    ("node_network_transmit_errs_total", "Packets that could not be sent.", |d| d.transmit_errs),
    ("node_network_transmit_drop_total", "Packets dropped on their way out.", |d| d.transmit_drop),
    ("node_network_transmit_fifo_total", "Packets lost because a send buffer was full.", |d| d.transmit_fifo),
    ("node_network_transmit_colls_total", "Collisions on the medium.", |d| d.transmit_colls),
    ("node_network_transmit_carrier_total", "Packets lost with the carrier.", |d| d.transmit_carrier),
    ("node_network_transmit_compressed_total", "Compressed packets sent.", |d| d.transmit_compressed),
];

pub(super) fn write(to: &mut Exposition, devices: &[NetIo]) {
    let devices: Vec<(&NetIo, Labels)> = devices.iter().map(|d| (d, Labels::new(&[("device", &d.device)]))).collect();
    for (name, help, value) in COLUMNS {
        let mut family = to.family(name, Kind::Counter, help);
        for (device, labels) in &devices {
            family.series(labels, value(device));
        }
    }
}

pub(super) fn write_interfaces(to: &mut Exposition, interfaces: &[Interface]) {
    let mut labels = Labels::default();
    let mut family = to.family("node_network_up", Kind::Gauge, "1 when the interface's operational state is up.");
    for interface in interfaces {
        family.series(labels.set(&[("device", &interface.device)]), interface.operstate == "up");
    }
    let mut family = to.family("node_network_info", Kind::Gauge, "Constant 1, labelled with what is not a number of an interface.");
    for i in interfaces {
        let admin = if i.wanted_up { "up" } else { "down" };
        let said = [
            ("address", i.address.as_str()),
            ("adminstate", admin),
            ("broadcast", &i.broadcast),
            ("device", &i.device),
            ("duplex", &i.duplex),
            ("ifalias", &i.alias),
            ("operstate", &i.operstate),
        ];
        family.series(labels.set(&said), true);
    }
}
