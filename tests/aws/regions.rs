//! Two stacks of one name in two regions of one account: roles know no regions, and each stack keeps its own.

use super::{
    double::Double,
    road::{SCALE, SMALL, sandbox},
};

const OTHER: &str = "us-east-1";

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_in_another_region_keeps_its_roles_whatever_is_made_or_reaped_here() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let here = sandbox(&double, SMALL);
    here.stackup(&["apply", "--yes"]).ends(0);
    let mine = double.account().await;

    let reap = ["reap", "--region", OTHER, "--stack", "small", "--yes"];
    here.stackup(&reap).ends(0).says("Nothing to take");
    assert_eq!(double.account().await, mine);

    let there = sandbox(&double, &SMALL.replace("eu-central-1", OTHER));
    there.stackup(&["apply", "--yes"]).ends(0);
    std::fs::remove_dir_all(there.path(".stackup")).unwrap();
    there.stackup(&reap).ends(0);
    assert_eq!(double.account().await, mine);
    here.stackup(&["apply", "--yes"]).ends(0).says("No changes");

    std::fs::remove_dir_all(here.path(".stackup")).unwrap();
    here.stackup(&["reap", "--stack", "small", "--yes"]).ends(0);
    assert_eq!(double.account().await, Vec::<String>::new());
}
