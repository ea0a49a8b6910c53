//! What may happen in a run, and how often.

use std::time::Duration;

use super::Scenario;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Event {
    /// The resources ask for other routes.
    ChangeOrigins,
    /// The resources ask for other settings of a neighbor.
    ChangeNeighbor,
    /// The resources name a neighbor no more, or again.
    ToggleNeighbor,
    /// The resources ask for other settings of whoever connects from a prefix, or for none.
    ChangeRange,
    /// The resources name another cluster id.
    ChangeCluster,
    /// The resources ask for MEDs to be compared between neighbor ASes, or no more.
    ChangeSelection,
    /// The resources switch BGP off or on.
    ToggleInstance,
    /// The caches of the RPKI say something else.
    ChangeVrps,
    /// Our process is killed and comes back, with what it knew in its state directory, or without.
    RestartNode,
    /// A router announces and withdraws.
    ChangeRoutes,
    /// A router asks for its routes again.
    Refresh,
    /// A router forgets routes in silence and refreshes what it said.
    ForgetAndRefresh,
    /// Our operator asks a router for its routes.
    AskForRoutes,
    /// A router loses its power, or has it back.
    TogglePower,
    /// Connections of a router break.
    Break,
    /// A router stops reading for a while.
    Stall,
    /// Nothing reaches a router for a while.
    Cut,
    /// A router's operator resets its sessions.
    Clear,
    /// Our operator resets the session with a router.
    Reset,
    /// Our operator drains the session with a router, or with all, or undrains it (RFC 8326).
    Drain,
    /// A router sends garbage.
    Garbage,
}

/// Events, as often as they are listed.
const EVENTS: [Event; 41] = [
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeNeighbor,
    Event::ChangeNeighbor,
    Event::ToggleNeighbor,
    Event::ChangeCluster,
    Event::ToggleInstance,
    Event::Refresh,
    Event::ForgetAndRefresh,
    Event::ForgetAndRefresh,
    Event::AskForRoutes,
    Event::TogglePower,
    Event::TogglePower,
    Event::Break,
    Event::Break,
    Event::Stall,
    Event::Stall,
    Event::Cut,
    Event::Clear,
    Event::Reset,
    Event::Drain,
    Event::Drain,
    Event::ChangeVrps,
    Event::ChangeVrps,
    Event::ChangeVrps,
    Event::ChangeVrps,
    Event::ChangeRange,
    Event::ToggleNeighbor,
    Event::ChangeSelection,
    Event::ChangeSelection,
    Event::ChangeSelection,
];

impl Scenario {
    pub(in crate::simulator) fn draw_event(&mut self) -> Event {
        match self.random.below(100) {
            0 | 1 => return Event::Garbage,
            2..5 => return Event::RestartNode,
            _ => {}
        }
        // What is large is there to make peers fall behind while more changes come.
        if self.bulky && self.random.percent(60) {
            return *self
                .random
                .pick(&[Event::Stall, Event::ChangeOrigins, Event::ChangeOrigins]);
        }
        *self.random.pick(&EVENTS)
    }

    /// How long until the next thing happens: often before the last one has settled.
    pub(in crate::simulator) fn draw_pause(&mut self) -> Duration {
        let most = *self.random.pick(&[
            Duration::from_micros(200),
            Duration::from_millis(20),
            Duration::from_secs(2),
            Duration::from_secs(15),
        ]);
        let most = match self.bulky {
            true => most.min(Duration::from_secs(2)),
            false => most,
        };
        self.random.up_to(most)
    }
}
