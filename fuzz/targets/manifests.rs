//! Any octets as a manifest file, from the text to the routes, with a file in force that they may
//! meet. Whatever they are: no panic, no time out of proportion, and a file that is no YAML takes
//! nothing away.
#![no_main]

use std::io;
use std::path::Path;

use engine::config::{DesiredState, PeerAddress, diff};
use engine::watcher::explain::explain;
use engine::watcher::{Gateways, Host, HostNetwork, Options, Store, evaluate};
use libfuzzer_sys::fuzz_target;

struct NoHost;

impl Host for NoHost {
    fn network(&self) -> HostNetwork {
        HostNetwork::default()
    }

    fn password_file(&self, _path: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn default_gateways(&self, _family: codec::Family) -> Vec<PeerAddress> {
        Vec::new()
    }
}

const CONFIG: &[u8] = include_bytes!("../../examples/quickstart/config.yaml");
const POLICY: &[u8] = include_bytes!("../../examples/quickstart/allow-external-access.yaml");

fuzz_target!(|text: &[u8]| {
    let options = Options {
        node_name: "node-1".into(),
        allow_second_speaker: false,
    };
    let mut store = Store::new("m");
    store.put("config.yaml", CONFIG);
    store.put("policy.yaml", POLICY);
    let gateways = Gateways::default();
    let standing = DesiredState::default();
    let before = evaluate(&store.settle(), &NoHost, &options, &gateways, &standing);
    // In place of a file that was good, and as a file that comes before the others.
    for name in ["policy.yaml", "a.yaml"] {
        store.put(name, text);
        let in_force = store.settle();
        let after = evaluate(&in_force, &NoHost, &options, &gateways, &before.state);
        let _ = diff(&before.state, &after.state);
        let faults = in_force.faults.iter().chain(&after.warnings);
        faults.for_each(|fault| assert!(!fault.to_string().contains('\n'), "{fault}"));
        let instances = after.state.instances.values();
        if let Some(prefix) = instances.flat_map(|i| i.origins.keys()).next() {
            let network = HostNetwork::default();
            let explanation = explain(*prefix, &in_force, &network, &options, &after.state);
            assert!(explanation.originated);
        }
        if std::str::from_utf8(text).is_err() {
            assert_eq!(before.state, after.state);
        }
    }
});
