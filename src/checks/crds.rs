use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, none},
    cluster::is,
    evidence::Evidence,
    object::{items, name, text, texts, truth},
};

const PRESENT: &str = "crds.present";

pub(super) const CHECKS: &[Check] = &[
    Check::new(PRESENT, "every CRD of the stack is there", present)
        .needs(&["cluster.reachable"])
        .reads(&["CustomResourceDefinition"])
        .hint("a CRD that is deleted takes all objects of its kind with it")
        .fix("stackup apply"),
    Check::new(
        "crds.established",
        "the API server serves every CRD of the stack",
        established,
    )
    .needs(&[PRESENT])
    .reads(&["CustomResourceDefinition"])
    .hint("another CRD may claim the same names"),
    Check::new(
        "crds.served",
        "every version that the stack uses is served",
        served,
    )
    .needs(&[PRESENT])
    .reads(&["CustomResourceDefinition"])
    .hint("objects of a version that is no longer served cannot be read: they need to be stored anew"),
];

fn live(e: &Evidence) -> Result<Vec<(&Value, Option<&Value>)>, Miss> {
    let wanted = e.some_applied("CustomResourceDefinition")?;
    Ok(wanted
        .into_iter()
        .map(|wanted| (wanted, e.live(wanted)))
        .collect())
}

fn present(e: &Evidence, _: &'static str) -> Outcome {
    let all = live(e)?;
    let missing = all.iter().filter(|(_, live)| live.is_none());
    none(
        &missing
            .map(|(wanted, _)| format!("{} is missing", name(wanted)))
            .collect::<Vec<_>>(),
        all.len().to_string(),
        "all",
    )
}

fn established(e: &Evidence, _: &'static str) -> Outcome {
    let all = live(e)?;
    let unserved = all
        .iter()
        .filter_map(|(_, live)| *live)
        .filter(|crd| !is(crd, "Established") || !is(crd, "NamesAccepted"));
    none(
        &unserved.map(|crd| name(crd).to_owned()).collect::<Vec<_>>(),
        all.len().to_string(),
        "Established and NamesAccepted",
    )
}

fn served(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (wanted, live) in live(e)? {
        let Some(live) = live else { continue };
        let version = |named: &str| {
            items(live, "/spec/versions")
                .iter()
                .find(|version| text(version, "/name") == named)
        };
        for wanted in items(wanted, "/spec/versions") {
            count += 1;
            let named = text(wanted, "/name");
            if version(named).is_none_or(|found| !truth(found, "/served")) {
                wrong.push(format!("{} {named} is not served", name(live)));
            }
        }
        for stored in texts(live, "/status/storedVersions") {
            if version(stored).is_none() {
                wrong.push(format!("{} stores {stored}, which is gone", name(live)));
            }
        }
    }
    none(&wrong, format!("{count} versions"), "all served")
}
