//! Where the parts of a query are computed: a plan's groups by the node that has them.
//!
//! A group that is at one other node as a whole is read there, beside the data. All others are read here: those that are
//! here, and those whose segments lie at several nodes and must be merged first.

use crate::replica::read::place::RemotePlace;
use crate::replica::read::plan::{ReadPlan, SegmentSource};
use crate::replica::read::remote::RemoteSegment;

/// A plan, divided.
pub struct Places {
    /// What is read here.
    pub here: ReadPlan,
    /// What other nodes read.
    pub remote: Vec<RemotePlace>,
}

impl Places {
    /// Divides a plan; `None` if nothing of it is best read elsewhere.
    pub fn of(plan: &ReadPlan) -> Option<Self> {
        let mut here = ReadPlan { has_choice: plan.has_choice, ..ReadPlan::default() };
        let mut remote: Vec<RemotePlace> = Vec::new();
        for group in &plan.groups {
            let Some(segments) = at_one_other(group) else {
                here.groups.push(group.clone());
                continue;
            };
            let places = segments.iter().map(|segment| segment.place.clone()).collect();
            let RemoteSegment { peer, replica, .. } = segments[0];
            match remote.iter_mut().find(|place| place.replica == *replica) {
                Some(place) => place.groups.push(places),
                None => remote.push(RemotePlace {
                    peer: peer.clone(),
                    replica: replica.clone(),
                    groups: vec![places],
                }),
            }
        }
        (!remote.is_empty()).then_some(Places { here, remote })
    }
}

/// The segments of a group, if all are at one other node.
fn at_one_other(group: &[SegmentSource]) -> Option<Vec<&RemoteSegment>> {
    let segments: Vec<&RemoteSegment> = group.iter().map(remote).collect::<Option<_>>()?;
    let first = segments.first()?;
    segments.iter().all(|segment| segment.replica == first.replica).then_some(segments)
}

fn remote(source: &SegmentSource) -> Option<&RemoteSegment> {
    match source {
        SegmentSource::Remote(segment) => Some(segment),
        SegmentSource::Local(_) => None,
    }
}
