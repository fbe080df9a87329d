//! The version that `--version` prints, and man pages and completions made from `src/cli/args.rs`.
//!
//! They are written below `OUT_DIR` and, for packagers, to `target/assets/{man,completions}`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::CommandFactory;
use clap_complete::Shell;

#[path = "src/cli/args.rs"]
#[expect(dead_code, reason = "only the shape of the arguments matters here")]
mod args;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/cli/args.rs");
    println!("cargo:rerun-if-env-changed=BYTEPORT_REVISION");
    println!("cargo:rustc-env=BYTEPORT_VERSION={}", version());

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?);
    write_all(&out.join("assets"))?;
    // A fixed place below target/, whose own path depends on profile and target triple: found by the tag that cargo leaves there.
    let target = out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    if let Some(target) = target {
        write_all(&target.join("assets"))?;
    }
    Ok(())
}

/// The package's version, with a packager's revision where one is given.
fn version() -> String {
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    match env::var("BYTEPORT_REVISION") {
        Ok(revision) if !revision.is_empty() => format!("{version} ({revision})"),
        _ => version,
    }
}

fn write_all(to: &Path) -> io::Result<()> {
    let (man, completions) = (to.join("man"), to.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let programs = [args::Ctl::command(), args::Agent::command(), args::Actuator::command(), args::Collector::command()];
    for (mut command, section) in programs.into_iter().zip(["1", "8", "8", "8"]) {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command, &name, &completions)?;
        }
        command.build();
        page(&command, &name, section, &man)?;
    }
    Ok(())
}

/// One page a command and one for each of its subcommands: `byteportctl-incidents-show.1`.
fn page(command: &clap::Command, name: &str, section: &str, to: &Path) -> io::Result<()> {
    let command = command.clone().display_name(name.to_owned());
    for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
        page(sub, &format!("{name}-{}", sub.get_name()), section, to)?;
    }
    let title = name.to_uppercase();
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .title(title)
        .source(format!("byteport {}", version()))
        .section(section)
        .manual("BytePort")
        .render(&mut text)?;
    fs::write(to.join(format!("{name}.{section}")), text)
}
