use std::time::SystemTime;

use futures::future::join_all;

use super::super::{Clients, identity};
use super::{Ask, CHECKS, Problem};
use crate::{
    model::EksModel,
    resource::{Cause, ResourceError, Stack},
    state::Place,
};

/// Everything that would go wrong with this stack; empty if nothing would. Read-only.
///
/// `remembered` is where the state says that the stack stands, `operator` whose the operator's access entry is if there
/// is one. Without credentials, or at a wrong place, nothing else is
/// looked at. `clients` should be [patient](Clients::patient), since nobody repeats the calls.
pub async fn preflight(
    clients: &Clients,
    model: &EksModel,
    stack: &Stack,
    remembered: Option<&Place>,
    operator: Option<&str>,
    now: SystemTime,
) -> Vec<Problem> {
    let who = async { Ok::<_, ResourceError>((identity(clients).await?, clients.region().await?)) };
    let (caller, region) = match Box::pin(who).await {
        Ok(who) => who,
        Err(error) => return vec![not_signed_in(&error)],
    };
    let here = Place {
        account: caller.account.clone(),
        region: region.clone(),
    };
    if let Some(problem) = remembered.and_then(|there| misplaced(&here, there)) {
        return vec![problem];
    }
    let ask = Ask {
        clients,
        model,
        stack,
        operator: operator.unwrap_or(&caller.principal).to_owned(),
        caller,
        region,
        now,
    };
    let found = CHECKS.iter().map(|(what, check)| async {
        check(&ask)
            .await
            .unwrap_or_else(|error| vec![unanswered(what, &error)])
    });
    join_all(found).await.into_iter().flatten().collect()
}

fn not_signed_in(error: &ResourceError) -> Problem {
    let hint = error.hint.clone();
    let hint = hint.unwrap_or_else(|| "see that 'aws sts get-caller-identity' works".to_owned());
    let title = if error.cause == Cause::Unreachable {
        "AWS does not know who you are"
    } else {
        "who you are could not be asked"
    };
    Problem::new(title, error.to_string(), hint)
}

/// That these credentials are of another place than the state: everything would seem to be gone there.
pub fn misplaced(here: &Place, there: &Place) -> Option<Problem> {
    let what = match (here.account == there.account, here.region == there.region) {
        (true, true) => return None,
        (false, _) => "account",
        (true, false) => "region",
    };
    let found = format!(
        "the state says that this stack is in account {}, region {}; you are in account {}, region {}",
        there.account, there.region, here.account, here.region
    );
    let hint =
        "sign in to that account (AWS_PROFILE) and leave cluster.region as it was, or use another stack name";
    Some(Problem::new(format!("wrong {what}"), found, hint))
}

/// That a check could not look: what it is for may yet go well.
fn unanswered(what: &str, error: &ResourceError) -> Problem {
    let hint = error.hint.clone();
    let hint = hint.unwrap_or_else(|| "look at it yourself, or try again".to_owned());
    Problem::new(format!("could not check {what}"), error.to_string(), hint).warning()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_another_account_or_region_is_a_finding_with_both_places() {
        let place = |account: &str, region: &str| Place {
            account: account.into(),
            region: region.into(),
        };
        let here = place("1", "eu-central-1");
        assert_eq!(misplaced(&here, &here), None);
        let problem = misplaced(&here, &place("2", "eu-central-1")).unwrap();
        assert_eq!(problem.title, "wrong account");
        assert!(
            problem.found.contains("account 2") && problem.found.contains("account 1"),
            "{problem:?}"
        );
        assert_eq!(
            misplaced(&here, &place("1", "eu-west-1")).unwrap().title,
            "wrong region"
        );
    }
}
