//! What the address asks for. An address that means nothing here is refused and not guessed at: a list that ignores its filter would
//! be read as the answer.

use super::super::view::{FleetAsk, IncidentsAsk, Standing};
use super::trouble::Trouble;

/// Of a name that is looked for.
const MOST: usize = 200;

pub(super) type Pairs = [(String, String)];

/// # Errors
/// Which value means nothing here.
pub(super) fn fleet(pairs: &Pairs) -> Result<FleetAsk, Trouble> {
    let mut ask = FleetAsk { page: 1, ..FleetAsk::default() };
    for (key, value) in pairs {
        match key.as_str() {
            "name" => ask.name = text(key, value)?,
            "standing" if value.is_empty() => ask.standing = None,
            "standing" => {
                let one_of = || Standing::ALL.map(Standing::as_str).join(", ");
                let known = Standing::ALL.into_iter().find(|s| s.as_str() == value);
                ask.standing = Some(known.ok_or_else(|| Trouble::malformed(key, value, &format!("one of {}", one_of())))?);
            }
            "page" => ask.page = page(value)?,
            _ => {}
        }
    }
    Ok(ask)
}

/// # Errors
/// Which value means nothing here.
pub(super) fn incidents(pairs: &Pairs) -> Result<IncidentsAsk, Trouble> {
    let mut ask = IncidentsAsk { page: 1, ..IncidentsAsk::default() };
    for (key, value) in pairs {
        match key.as_str() {
            "open" => ask.open = flag(key, value)?,
            "escalated" => ask.escalated = flag(key, value)?,
            "runbook" => ask.runbook = text(key, value)?,
            "host" => ask.agent_id = text(key, value)?,
            "page" => ask.page = page(value)?,
            _ => {}
        }
    }
    Ok(ask)
}

fn text(key: &str, value: &str) -> Result<Option<String>, Trouble> {
    let value = value.trim();
    if value.len() > MOST {
        return Err(Trouble::malformed(key, value, &format!("at most {MOST} bytes")));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn flag(key: &str, value: &str) -> Result<bool, Trouble> {
    match value {
        "1" => Ok(true),
        "0" | "" => Ok(false),
        _ => Err(Trouble::malformed(key, value, "1 or 0")),
    }
}

fn page(value: &str) -> Result<u64, Trouble> {
    // As far as an SQL engine can skip.
    let number = value.parse().ok().filter(|n| (1..=1_000_000).contains(n));
    number.ok_or_else(|| Trouble::malformed("page", value, "a number from 1 to 1000000"))
}

#[cfg(test)]
mod tests {
    use super::super::url;
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_means_nothing_is_refused_and_what_is_unknown_is_not_asked_for() {
        for bad in [("standing", "happy"), ("page", "0"), ("page", "-1"), ("page", "1e3"), ("name", "x".repeat(201).as_str())] {
            assert!(fleet(&pairs(&[bad])).is_err(), "{bad:?}");
        }
        assert!(incidents(&pairs(&[("open", "yes")])).is_err());
        let nothing = FleetAsk { page: 1, ..FleetAsk::default() };
        assert_eq!(fleet(&pairs(&[("name", "  "), ("standing", ""), ("utm", "x")])).ok(), Some(nothing));
    }

    proptest! {
        #[test]
        fn a_page_is_asked_for_as_its_own_address_says(name in "\\PC{0,40}", which in 0..Standing::ALL.len(), page in 1_u64..1000, open: bool) {
            let given = Some(name.trim().to_owned()).filter(|n| !n.is_empty());
            let ask = FleetAsk { name: given.clone(), standing: Some(Standing::ALL[which]), page };
            prop_assert_eq!(fleet(&read(&url::fleet(&ask).to_string())).ok(), Some(ask));
            let ask = IncidentsAsk { open, escalated: !open, runbook: given.clone(), agent_id: given, page };
            prop_assert_eq!(incidents(&read(&url::incidents(&ask).to_string())).ok(), Some(ask));
        }
    }

    /// As axum reads it.
    fn read(href: &str) -> Vec<(String, String)> {
        let uri = href.parse().expect("an address");
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).expect("a query").0
    }
}
