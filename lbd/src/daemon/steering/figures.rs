//! What a backend has answered when it was asked for its figures.
use tracing::{info, warn};

use super::{Steering, poll};
use crate::daemon::{clock, context::Context};

impl Steering {
    /// Takes in a backend's figures, or why there are none.
    pub(in crate::daemon) fn polled(&mut self, polled: poll::Event, context: &mut Context<'_>) {
        let now_ns = clock::boottime_ns();
        let Some(member) = self.members.by_name(&polled.backend) else {
            return;
        };
        member.heard_ns = now_ns;
        match polled.result {
            Ok(sample) => {
                if member.poll_error.take().is_some() {
                    info!("{} reports its figures again", member.name);
                }
                member.answered = Some((sample, now_ns));
            }
            Err(error) => {
                member.poll_failures += 1;
                let error = error.to_string();
                if member.poll_error.as_ref() != Some(&error) {
                    warn!("{}: no figures: {error}", member.name);
                }
                member.poll_error = Some(error);
            }
        }
        // Either is a word on whether the box lives.
        self.settle_health(&polled.backend, context, now_ns);
        // Figures act when they come, not at the next tick of another clock.
        if self.members.all_heard_since(self.weigher.last_ns()) {
            self.weigher.forget_former();
            self.weigh(context, now_ns);
        }
    }
}
