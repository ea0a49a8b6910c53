//! What the demo shows: how the router's table differs from a moment ago, in words.
//!
//! Asks two engines through [`EngineApi`] and prints nothing itself. Invariant: every route that
//! came, changed or went between two looks is one entry, and an engine that does not answer
//! changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::admin::api::{ApiError, EngineApi};
use crate::admin::render;
use crate::model::{PeerState, PeersQuery, Route, RoutesKind, RoutesQuery};

/// Looks at a router and at the node that tells it its routes.
pub(crate) struct Observer<A> {
    node: A,
    router: A,
    held: BTreeMap<String, Route>,
    causes: BTreeMap<String, String>,
    faults: BTreeSet<String>,
    session: Option<PeerState>,
}

impl<A: EngineApi> Observer<A> {
    /// An observer of a router that holds nothing yet.
    pub(crate) fn new(node: A, router: A) -> Observer<A> {
        Observer {
            node,
            router,
            held: BTreeMap::new(),
            causes: BTreeMap::new(),
            faults: BTreeSet::new(),
            session: None,
        }
    }

    /// What is new since the last look, as lines to print. `since` is the time that has passed
    /// since the change that is looked for; none: nothing was changed lately.
    pub(crate) async fn look(&mut self, since: Option<Duration>) -> String {
        let mut text = String::new();
        // Asked for before the session, and told after it: what is held now was told over a session that
        // is up by the next question, if it has not ended.
        let routes = all_routes(&self.router, RoutesKind::Available).await;
        self.look_at_session(&mut text).await;
        self.look_at_faults(&mut text).await;
        if let Ok(routes) = routes {
            let routes = routes.into_iter().filter(|r| r.peer_address.is_some());
            let routes = routes.map(|route| (route.prefix.clone(), route)).collect();
            if routes != self.held {
                self.tell_difference(routes, since, &mut text).await;
            }
        }
        text
    }

    async fn look_at_session(&mut self, text: &mut String) {
        let Ok(peers) = self.router.peers(PeersQuery::default()).await else {
            return;
        };
        let Some(peer) = peers.first() else { return };
        let was_up = self.session == Some(PeerState::Established);
        let is_up = peer.state == PeerState::Established;
        self.session = Some(peer.state);
        match (was_up, is_up) {
            (false, true) => {
                let asn = peer
                    .peer_asn
                    .map_or(String::new(), |asn| format!(", AS {asn}"));
                let _ = writeln!(
                    text,
                    "= session with the node up ({}{asn})",
                    peer.peer_address
                );
            }
            (true, false) => {
                let why = peer.last_error.as_deref().unwrap_or("no reason given");
                let _ = writeln!(text, "= session with the node lost: {why}");
            }
            _ => {}
        }
    }

    async fn look_at_faults(&mut self, text: &mut String) {
        let Ok(faults) = self.node.faults().await else {
            return;
        };
        let faults: BTreeSet<String> = faults.iter().map(ToString::to_string).collect();
        for fault in faults.difference(&self.faults) {
            let _ = writeln!(text, "! {fault}");
        }
        for mended in self.faults.difference(&faults) {
            let _ = writeln!(text, "! mended: {mended}");
        }
        self.faults = faults;
    }

    async fn tell_difference(
        &mut self,
        now: BTreeMap<String, Route>,
        since: Option<Duration>,
        text: &mut String,
    ) {
        let causes = match all_routes(&self.node, RoutesKind::Available).await {
            Ok(routes) => routes.into_iter().filter_map(cause).collect(),
            Err(_) => self.causes.clone(),
        };
        let after = since.map_or(String::new(), |s| format!(" after {}", milliseconds(s)));
        for prefix in self.held.keys().filter(|prefix| !now.contains_key(*prefix)) {
            let cause = self.causes.get(prefix);
            let by = cause.map_or(String::new(), |cause| format!("; it was there by {cause}"));
            let _ = writeln!(text, "- {prefix} gone{after}{by}");
        }
        for (prefix, route) in &now {
            let (mark, verb) = match self.held.get(prefix) {
                None => ('+', "arrived"),
                Some(old) if old != route => ('~', "changed"),
                Some(_) => continue,
            };
            let cause = causes.get(prefix);
            let by = cause.map_or(String::new(), |cause| format!("\n    by {cause}"));
            let _ = writeln!(
                text,
                "{mark} {prefix} {verb}{after}: {}{by}",
                render::attributes(route)
            );
        }
        self.held = now;
        self.causes = causes;
    }
}

/// All pages of a table.
async fn all_routes<A: EngineApi>(api: &A, kind: RoutesKind) -> Result<Vec<Route>, ApiError> {
    let mut query = RoutesQuery::all(kind);
    let mut routes = Vec::new();
    loop {
        let page = api.routes(query.clone()).await?;
        routes.extend(page.routes);
        match page.more {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(routes),
        }
    }
}

fn cause(route: Route) -> Option<(String, String)> {
    let source = route.source?;
    let words = format!("{} {}", render::resource(&source), source.rule);
    Some((route.prefix, words))
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::admin::api::EventStream;
    use crate::model::{
        DrainQuery, DrainReply, ExplainQuery, Explanation, Fault, Peer, RefreshQuery, RefreshReply,
        ResetQuery, ResetReply, RoutesReply, RpkiCache, RpkiQuery, Source, WatchQuery,
        parse_prefix,
    };

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Held>>);

    #[derive(Default)]
    struct Held {
        routes: Vec<Route>,
        faults: Vec<Fault>,
        /// Their sessions come up once its routes are asked for.
        peers: Vec<Peer>,
    }

    impl EngineApi for Fake {
        async fn peers(&self, _: PeersQuery) -> Result<Vec<Peer>, ApiError> {
            Ok(self.0.lock().unwrap().peers.clone())
        }
        async fn routes(&self, _: RoutesQuery) -> Result<RoutesReply, ApiError> {
            let mut fake = self.0.lock().unwrap();
            for peer in &mut fake.peers {
                peer.state = PeerState::Established;
            }
            Ok(RoutesReply {
                routes: fake.routes.clone(),
                ..RoutesReply::default()
            })
        }
        async fn explain(&self, _: ExplainQuery) -> Result<Vec<Explanation>, ApiError> {
            Ok(Vec::new())
        }
        async fn rpki(&self, _: RpkiQuery) -> Result<Vec<RpkiCache>, ApiError> {
            Ok(Vec::new())
        }
        async fn reset(&self, _: ResetQuery) -> Result<ResetReply, ApiError> {
            Ok(ResetReply::default())
        }
        async fn watch(&self, _: WatchQuery) -> Result<EventStream, ApiError> {
            Ok(EventStream::new(|_| std::task::Poll::Ready(None)))
        }

        async fn drain(&self, _: DrainQuery) -> Result<DrainReply, ApiError> {
            Ok(DrainReply { peers: 0 })
        }
        async fn refresh(&self, _: RefreshQuery) -> Result<RefreshReply, ApiError> {
            Ok(RefreshReply::default())
        }
        async fn policies(
            &self,
            _: crate::model::PoliciesQuery,
        ) -> Result<Vec<crate::model::Policy>, ApiError> {
            unreachable!()
        }

        async fn faults(&self) -> Result<Vec<Fault>, ApiError> {
            Ok(self.0.lock().unwrap().faults.clone())
        }
    }

    #[test]
    fn routes_come_change_and_go_with_their_cause() {
        let (node, router) = (Fake::default(), Fake::default());
        let mut observer = Observer::new(node.clone(), router.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut look = |ms| runtime.block_on(observer.look(Some(Duration::from_millis(ms))));

        let mut own = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
        let mut told = own.clone();
        own.source = Some(Source {
            kind: "CiliumNetworkPolicy".to_owned(),
            namespace: Some("default".to_owned()),
            name: "web".to_owned(),
            rule: "spec.egress[0].toCIDR[0]".to_owned(),
        });
        told.peer_address = Some("127.0.0.1".to_owned());
        told.next_hop = Some("127.0.0.1".to_owned());
        told.as_path = Some(Vec::new());
        node.0.lock().unwrap().routes = vec![own];
        router.0.lock().unwrap().routes = vec![told.clone()];
        let cause = "CiliumNetworkPolicy default/web spec.egress[0].toCIDR[0]";
        assert_eq!(
            look(2),
            format!(
                "+ 10.0.1.0/24 arrived after 2.0 ms: next hop 127.0.0.1, AS path (empty)\n    \
                 by {cause}\n"
            )
        );
        assert_eq!(look(3), "", "nothing is new");

        told.local_pref = Some(200);
        router.0.lock().unwrap().routes = vec![told];
        assert!(look(4).starts_with("~ 10.0.1.0/24 changed after 4.0 ms: "));

        node.0.lock().unwrap().routes.clear();
        router.0.lock().unwrap().routes.clear();
        assert_eq!(
            look(1),
            format!("- 10.0.1.0/24 gone after 1.0 ms; it was there by {cause}\n")
        );
    }

    #[test]
    fn a_session_is_told_before_what_came_over_it() {
        let (node, router) = (Fake::default(), Fake::default());
        let mut observer = Observer::new(node, router.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        // It comes up while it is looked at.
        let mut peer = render::tests::peer();
        peer.state = PeerState::Connect;
        let mut told = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
        told.peer_address = Some(peer.peer_address.clone());
        router.0.lock().unwrap().routes = vec![told];
        router.0.lock().unwrap().peers = vec![peer];
        let text = runtime.block_on(observer.look(None));
        let place = |words| {
            text.find(words)
                .unwrap_or_else(|| panic!("no {words}: {text}"))
        };
        assert!(place("= session with the node up") < place("+ 10.0.1.0/24 arrived"));
    }

    #[test]
    fn a_fault_is_told_when_it_comes_and_when_it_is_mended() {
        let (node, router) = (Fake::default(), Fake::default());
        let mut observer = Observer::new(node.clone(), router);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut look = || runtime.block_on(observer.look(None));
        node.0.lock().unwrap().faults = vec![Fault {
            file: Some("a.yaml".to_owned()),
            line: Some(3),
            path: None,
            message: "not YAML".to_owned(),
            warning: false,
        }];
        assert_eq!(look(), "! a.yaml:3: not YAML\n");
        assert_eq!(look(), "");
        node.0.lock().unwrap().faults.clear();
        assert_eq!(look(), "! mended: a.yaml:3: not YAML\n");
    }
}
