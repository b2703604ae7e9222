//! One trace at a time: the event loop, which owns the maps and the links, prepares it, begins it and ends
//! it. The kernel verifies the program between, off the loop.
use tracing::info;

use super::{
    Operators,
    trace::{TraceRequest, Tracing},
};
use crate::{
    daemon::{clock, context::Context, steering::members::Members},
    dataplane::{DataPlane, Unverified, Verified},
    trace::{BackendName, Names},
};

/// The program stays silent from so long after the end on, also when the daemon was killed.
const GRACE_NS: u64 = 1_000_000_000;

impl Operators {
    /// Loads the traced program. It is verified elsewhere.
    pub(in crate::daemon) fn prepare_trace(
        &mut self,
        request: &TraceRequest,
        plane: &DataPlane,
    ) -> Result<Unverified, String> {
        let filter = request.filter()?;
        let now_ns = clock::boottime_ns();
        if let Some(until_ns) = self.trace_until_ns.filter(|until_ns| *until_ns > now_ns) {
            let rest_s = (until_ns - now_ns).div_ceil(1_000_000_000);
            return Err(format!(
                "another trace runs, for {rest_s} s at most: one at a time"
            ));
        }
        let until_ns = now_ns + request.for_s * 1_000_000_000 + GRACE_NS;
        let prepared = plane.prepare_trace(&filter, until_ns);
        let prepared = prepared.map_err(|error| error.to_string())?;
        self.trace_until_ns = Some(until_ns);
        Ok(prepared)
    }

    /// Brings the ordinary program back.
    pub(in crate::daemon) fn end_trace(&mut self, plane: &mut DataPlane) {
        if self.trace_until_ns.take().is_some() {
            plane.end_trace();
            info!("the trace has ended: the ordinary program is back");
        }
    }

    /// Ends a trace that should have ended by itself.
    pub(in crate::daemon) fn end_old_trace(&mut self, plane: &mut DataPlane, now_ns: u64) {
        let is_over = |until_ns| now_ns > until_ns + GRACE_NS;
        if self.trace_until_ns.is_some_and(is_over) {
            self.end_trace(plane);
        }
    }

    /// What the numbers of a record stand for.
    pub(in crate::daemon) fn names_for_trace(
        &self,
        members: &Members,
        context: &Context<'_>,
    ) -> Names {
        let backends = members.iter().map(|member| {
            let name = BackendName {
                name: member.name.clone(),
                is_local: member.local,
            };
            (member.id.0, name)
        });
        Names {
            backends: backends.collect(),
            interfaces: context.plane.interface_names(),
            denied: self.access_lists(context.config).deny,
            booted_unix_ns: clock::unix_ns().saturating_sub(clock::boottime_ns()),
        }
    }
}

/// Puts the traced program in the place of the ordinary one.
pub(in crate::daemon) fn begin(
    verified: Verified,
    names: Names,
    plane: &mut DataPlane,
) -> Result<Tracing, String> {
    let traces = plane.begin_trace(verified);
    let traces = traces.map_err(|error| error.to_string())?;
    info!("a trace begins: a traced program is in the place of the ordinary one");
    Ok(Tracing { traces, names })
}
