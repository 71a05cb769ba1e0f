//! The bucket goes away in the middle of a change.

use super::check::{SOME, check_all, wait_until_closed};
use crate::cluster::{Cluster, list};
use crate::load::Load;

#[test]
fn a_handoff_waits_for_a_bucket_that_is_away_and_goes_on_when_it_is_back() {
    let mut cluster = Cluster::start(4);
    let load = Load::start(&cluster, 0xb0c4);
    load.wait_for_acks(SOME);
    load.avoid(3);
    let drained = cluster.nodes[3].connect().post_form("/drain", &[]).unwrap();
    assert_eq!(drained.status, 202);
    cluster.wait_for("the others act without it", || {
        (list(&cluster.nodes[0].ring()?["members"]).len() == 3).then_some(())
    });
    let (bucket, away) = (cluster.path("bucket"), cluster.path("away"));
    std::fs::rename(&bucket, &away).unwrap();
    std::fs::write(&bucket, "not a folder").unwrap();
    cluster.wait_for("the bucket is missed", || {
        let ring = cluster.nodes[0].ring()?;
        list(&ring["alarms"])
            .iter()
            .any(|alarm| alarm.as_str().unwrap().contains("object store"))
            .then_some(())
    });
    load.wait_for_acks(SOME);
    std::fs::remove_file(&bucket).unwrap();
    std::fs::rename(&away, &bucket).unwrap();
    assert!(cluster.nodes[3].wait_for_exit().success());
    let rest = [0, 1, 2];
    wait_until_closed(&cluster, &rest, 1);
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &rest);
}
