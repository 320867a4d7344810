//! What lives in something that goes, and cannot be asked any more: it goes along, and a person is told.

use std::collections::BTreeMap;

use super::{Found, Refreshed, Run, Seen, refresh::lives_in};
use crate::{
    model::{Address, EventKind},
    resource::{Cause, Observed, Readiness},
};

/// How many of what could not be asked are named.
const NAMED: usize = 3;

/// The same answer; or, if nobody answers in what it lives in and all of that will be deleted, that it goes along.
pub(super) fn or_goes(run: &Run, found: &mut Found, seen: Seen, before: &Refreshed) -> Seen {
    let Seen::Error(error) = &seen else {
        return seen;
    };
    if found.wanted.is_some() || error.cause != Cause::Unreachable {
        return seen;
    }
    match lives_in(run, found).filter(|home| outermost(run, home, before).is_some()) {
        Some(home) => {
            found.unasked = Some(error.to_string());
            Seen::GoesWith(home)
        }
        None => seen,
    }
}

/// Whether what this is, or is in, stands, cannot be used and will be deleted: nobody in there will answer.
pub(super) fn half_made(run: &Run, home: &Address, before: &Refreshed) -> bool {
    let Some(Seen::Known(Observed::Live(live))) =
        outermost(run, home, before).map(|outermost| &outermost.seen)
    else {
        return false;
    };
    live.readiness != Readiness::Ready
}

/// What `home` is in at last, if all on the way there will be deleted.
fn outermost<'a>(run: &Run, home: &Address, before: &'a Refreshed) -> Option<&'a Found> {
    let mut found = before.found.get(home)?;
    loop {
        let goes = found.wanted.is_none() && !found.stays(run);
        let ours = match &found.seen {
            Seen::Known(Observed::Live(live)) => live.foreign.is_none(),
            Seen::GoesWith(_) => true,
            Seen::Known(Observed::Absent) | Seen::After(_) | Seen::Error(_) => false,
        };
        if !goes || !ours {
            return None;
        }
        match lives_in(run, found) {
            // Nothing is in itself, and the way out was refreshed before.
            Some(next) => found = before.found.get(&next)?,
            None => return Some(found),
        }
    }
}

/// One warning for all that could not be asked for the same reason.
pub(super) fn tell(run: &Run, refreshed: &Refreshed) {
    let mut unasked: BTreeMap<(&Address, &str), Vec<&Address>> = BTreeMap::new();
    for (address, found) in &refreshed.found {
        if let (Some(why), Seen::GoesWith(home)) = (&found.unasked, &found.seen) {
            unasked.entry((home, why)).or_default().push(address);
        }
    }
    for ((home, why), addresses) in unasked {
        let mut names: Vec<String> = addresses.iter().take(NAMED).map(ToString::to_string).collect();
        if addresses.len() > NAMED {
            names.push(format!("{} more", addresses.len() - NAMED));
        }
        let (count, leave) = match addresses.len() {
            1 => ("counts", "it leaves"),
            _ => ("count", "they leave"),
        };
        run.events.send(EventKind::Warning {
            address: Some(home.clone()),
            message: format!(
                "{} could not be asked ({why}) and {count} as gone when this is deleted; what {leave} outside is \
                 looked for afterwards",
                names.join(", ")
            ),
        });
    }
}
