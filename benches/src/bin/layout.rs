//! A reflector layout of a large cluster, in one process and without sockets: does it hold, and
//! what does each reflector of it need?
//!
//! `layout [--pods N] [--nodes N] [--json]`
//!
//! Pods of nodes with two reflectors each, which are clients of two reflectors at the top
//! (`benches::cluster`): all sessions come up, all nodes announce two prefixes at once; then one
//! prefix goes and comes back, and a pod's and a top reflector die and come back. After each step
//! every route that any node holds of either of its reflectors is compared with what it should be,
//! next hop, ORIGINATOR_ID and CLUSTER_LIST; the first that is wrong ends the program with 1.
//! Prints who told whom how much, and for the cold start what a reflector of each kind took.
//!
//! CPU time is of the shards: without system calls, and in one thread with all the others and
//! the nodes, whose tables share its caches. Memory is what this process grew by while the sessions
//! came up and the routes were told, over the reflectors; the nodes' tables are there before.

use std::time::Duration;

use benches::cluster::network::{Cost, Network, Traffic};
use benches::cluster::node::Held;
use benches::cluster::{Layout, NODES_MAX, Role};
use serde_json::{Value, json};

// As in the daemon.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So many faults are told in words.
const FAULTS_TOLD: usize = 5;

/// What happened in a step.
struct Step {
    what: &'static str,
    moments: usize,
    took: Duration,
    traffic: [[Traffic; 3]; 3],
    costs: [Cost; 3],
    /// Routes that nodes hold, all compared.
    routes: u64,
    /// Resident octets at its end.
    resident: u64,
}

fn main() {
    let (layout, as_json) = options();
    let mut report = Report::new(&layout);
    let result = drill(layout, |step| report.add(step, as_json));
    if let Err(fault) = result {
        eprintln!("layout: {fault}");
        std::process::exit(1);
    }
    if as_json {
        println!("{:#}", report.json());
    } else {
        report.print();
    }
}

fn options() -> (Layout, bool) {
    let (mut pods, mut nodes, mut as_json) = (4, 50, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok());
        match word.as_str() {
            "--pods" => pods = number().unwrap_or(0),
            "--nodes" => nodes = number().unwrap_or(0),
            "--json" => as_json = true,
            _ => pods = 0,
        }
    }
    if !(1..=NODES_MAX).contains(&pods) || !(1..=NODES_MAX / pods).contains(&nodes) {
        eprintln!(
            "usage: layout [--pods N] [--nodes N, of each pod] [--json]; 65536 nodes at most"
        );
        std::process::exit(2);
    }
    (Layout::new(pods, nodes), as_json)
}

/// All that happens to the cluster, step by step.
fn drill(layout: Layout, mut done: impl FnMut(Step)) -> Result<(), String> {
    let mut cluster = Network::new(layout);
    let reflectors = 0..cluster.layout.reflectors();
    reflectors.clone().for_each(|number| cluster.make(number));
    let mut step = |cluster: &mut Network, what, act: &mut dyn FnMut(&mut Network)| {
        cluster.reset();
        let begin = cluster.now();
        act(cluster);
        let moments = cluster.run().map_err(|fault| format!("{what}: {fault}"))?;
        let routes = check(cluster).map_err(|faults| format!("{what}: {}", faults.join("\n  ")))?;
        let lost = cluster.traffic[Role::Pod as usize][Role::Node as usize].withdrawn;
        if what != WITHDRAWN && lost > 0 {
            return Err(format!("{what}: nodes are told {lost} withdrawals"));
        }
        done(Step {
            what,
            moments,
            took: cluster.now().saturating_since(begin),
            traffic: cluster.traffic,
            costs: cluster.costs,
            routes,
            resident: resident(),
        });
        Ok(())
    };
    let top = cluster.layout.tops()[0];
    step(&mut cluster, "reflectors without neighbors", &mut |_| {})?;
    step(&mut cluster, "sessions come up", &mut |cluster| {
        reflectors.clone().for_each(|number| cluster.start(number));
    })?;
    step(&mut cluster, COLD_START, &mut Network::announce_all)?;
    step(&mut cluster, WITHDRAWN, &mut |cluster| {
        cluster.change(0, 1, false);
    })?;
    step(&mut cluster, "one prefix is back", &mut |cluster| {
        cluster.change(0, 1, true);
    })?;
    for (number, dies, returns) in [
        (0, "a pod's reflector dies", "the pod's reflector is back"),
        (top, "a top reflector dies", "the top reflector is back"),
    ] {
        step(&mut cluster, dies, &mut |cluster| cluster.kill(number))?;
        step(&mut cluster, returns, &mut |cluster| {
            cluster.make(number);
            cluster.start(number);
        })?;
    }
    Ok(())
}

const COLD_START: &str = "all announce two prefixes";
const WITHDRAWN: &str = "one prefix goes";

/// Compares what every node holds with what it should. Returns how many routes these are.
///
/// # Errors
/// The first few that are wrong, and how many there are.
fn check(cluster: &Network) -> Result<u64, Vec<String>> {
    let layout = &cluster.layout;
    let [first, second] = layout.tops().map(|top| cluster.is_alive(top));
    let (mut routes, mut wrong, mut words) = (0, 0, Vec::new());
    for (number, node) in cluster.nodes.iter().enumerate() {
        let pod = layout.pod_of(number);
        for (which, session) in node.sessions.iter().enumerate() {
            let reflector = 2 * pod + which;
            let is_told = cluster.is_alive(reflector);
            for (prefix, held) in session.held.iter().enumerate() {
                let origin = prefix / 2;
                let is_due =
                    is_told && origin != number && cluster.nodes[origin].announces[prefix % 2];
                let right = match (is_due, layout.pod_of(origin) == pod) {
                    (false, _) => *held == Held::NONE,
                    (true, true) => *held == Held::of(origin, None),
                    (true, false) => {
                        (first && *held == Held::of(origin, Some(0)))
                            || (second && *held == Held::of(origin, Some(1)))
                    }
                };
                routes += u64::from(*held != Held::NONE);
                wrong += u64::from(!right);
                if !right && words.len() < FAULTS_TOLD {
                    let has = match (is_due, *held) {
                        (true, Held::NONE) => "misses".to_owned(),
                        (true, Held::ODD) => format!("holds an odd route ({}) to", node.odd),
                        (true, _) => format!("holds another's route ({held:?}) to"),
                        (false, _) => "should hold nothing, but does, to".to_owned(),
                    };
                    words.push(format!(
                        "node {number} of pod {pod} {has} {} of node {origin} of pod {}, \
                         from reflector {reflector}",
                        layout.prefix(prefix),
                        layout.pod_of(origin),
                    ));
                }
            }
        }
    }
    if wrong == 0 {
        return Ok(routes);
    }
    words.push(format!("{wrong} wrong in all"));
    Err(words)
}

/// What was seen, for people and programs.
struct Report {
    layout: Layout,
    steps: Vec<Step>,
}

/// What a reflector of one role took and told in the cold start, on average.
struct Share {
    role: Role,
    reflectors: u64,
    sessions: u64,
    into: Traffic,
    out: Traffic,
    cost: Cost,
}

impl Report {
    fn new(layout: &Layout) -> Report {
        Report {
            layout: layout.clone(),
            steps: Vec::new(),
        }
    }

    fn add(&mut self, step: Step, is_silent: bool) {
        if !is_silent {
            print_step(&step);
        }
        self.steps.push(step);
    }

    fn shares(&self) -> Vec<Share> {
        let cold = self.steps.iter().find(|step| step.what == COLD_START);
        let (pods, nodes) = (self.layout.pods as u64, self.layout.nodes_a_pod as u64);
        let mut shares = Vec::new();
        for (role, reflectors, sessions) in [
            (Role::Pod, 2 * pods, nodes + 2),
            (Role::Top, 2, 2 * pods + 1),
        ] {
            let Some(cold) = cold else { continue };
            let (mut into, mut out) = (Traffic::default(), Traffic::default());
            for other in Role::ALL {
                into += cold.traffic[other as usize][role as usize];
                out += cold.traffic[role as usize][other as usize];
            }
            shares.push(Share {
                role,
                reflectors,
                sessions,
                into,
                out,
                cost: cold.costs[role as usize],
            });
        }
        shares
    }

    /// Resident octets for each end of a session at a reflector, and for each prefix in one.
    fn memory(&self) -> (u64, u64) {
        let resident = |at: usize| self.steps.get(at).map_or(0, |step| step.resident);
        let grown = |at: usize| resident(at).saturating_sub(resident(at - 1));
        let ends: u64 = self
            .shares()
            .iter()
            .map(|s| s.reflectors * s.sessions)
            .sum();
        let prefixes = (self.layout.reflectors() * self.layout.prefixes()) as u64;
        (grown(1) / ends.max(1), grown(2) / prefixes)
    }

    fn print(&self) {
        println!(
            "\ncold start     sessions  prefixes  UPDATEs in        out  octets in        out  \
             CPU s  ns/NLRI in    out"
        );
        for share in self.shares() {
            let each = |sum: u64| sum / share.reflectors;
            println!(
                "a {:?} reflector {:8} {:9} {:11} {:10} {:10} {:10} {:6.3} {:11.1} {:6.1}",
                share.role,
                share.sessions,
                self.layout.prefixes(),
                each(share.into.updates),
                each(share.out.updates),
                each(share.into.octets),
                each(share.out.octets),
                each(share.cost.taking + share.cost.telling) as f64 / 1e9,
                a_unit(share.cost.taking, nlri(&share.into)),
                a_unit(share.cost.telling, nlri(&share.out)),
            );
        }
        let (session, prefix) = self.memory();
        println!("resident: {session} octets a session, {prefix} a prefix in a reflector");
    }

    fn json(&self) -> Value {
        let (session, prefix) = self.memory();
        let shares = self.shares();
        let shares = shares.iter().map(|share| {
            let each = |sum: u64| sum / share.reflectors;
            json!({
                "role": format!("{:?}", share.role).to_lowercase(),
                "reflectors": share.reflectors,
                "sessions": share.sessions,
                "updatesIn": each(share.into.updates),
                "updatesOut": each(share.out.updates),
                "nlriIn": each(nlri(&share.into)),
                "nlriOut": each(nlri(&share.out)),
                "octetsIn": each(share.into.octets),
                "octetsOut": each(share.out.octets),
                "cpuSecondsTaking": each(share.cost.taking) as f64 / 1e9,
                "cpuSecondsTelling": each(share.cost.telling) as f64 / 1e9,
            })
        });
        let steps = self.steps.iter().map(|step| {
            let told: Vec<Value> = told(step)
                .map(|(from, to, traffic)| {
                    json!({
                        "from": format!("{from:?}").to_lowercase(),
                        "to": format!("{to:?}").to_lowercase(),
                        "updates": traffic.updates,
                        "announced": traffic.announced,
                        "withdrawn": traffic.withdrawn,
                        "octets": traffic.octets,
                    })
                })
                .collect();
            json!({
                "step": step.what,
                "moments": step.moments,
                "virtualSeconds": step.took.as_secs_f64(),
                "routes": step.routes,
                "residentOctets": step.resident,
                "told": told,
            })
        });
        json!({
            "pods": self.layout.pods,
            "nodesAPod": self.layout.nodes_a_pod,
            "prefixes": self.layout.prefixes(),
            "octetsASession": session,
            "octetsAPrefix": prefix,
            "coldStart": shares.collect::<Vec<_>>(),
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

fn print_step(step: &Step) {
    println!(
        "{}: at rest after {} moments, {:.3} s; {} routes as they should be; {} MB resident",
        step.what,
        step.moments,
        step.took.as_secs_f64(),
        step.routes,
        step.resident >> 20,
    );
    for (from, to, traffic) in told(step) {
        println!(
            "  {from:?} to {to:?}: {} UPDATEs, {} announced, {} withdrawn, {} octets",
            traffic.updates, traffic.announced, traffic.withdrawn, traffic.octets
        );
    }
}

/// Who told whom anything.
fn told(step: &Step) -> impl Iterator<Item = (Role, Role, Traffic)> {
    let pairs = Role::ALL
        .into_iter()
        .flat_map(|from| Role::ALL.map(|to| (from, to)));
    pairs
        .map(|(from, to)| (from, to, step.traffic[from as usize][to as usize]))
        .filter(|(.., traffic)| traffic.updates > 0)
}

fn nlri(traffic: &Traffic) -> u64 {
    traffic.announced + traffic.withdrawn
}

fn a_unit(nanos: u64, units: u64) -> f64 {
    nanos as f64 / units.max(1) as f64
}

/// Resident octets of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cluster_holds_through_all_steps() {
        let mut steps = Vec::new();
        drill(Layout::new(2, 3), |step| steps.push(step)).unwrap();
        let routes: Vec<u64> = steps.iter().map(|step| step.routes).collect();
        // Six nodes, two reflectors, ten prefixes of others; of a dead reflector three have nothing.
        assert_eq!(routes, [0, 0, 120, 110, 120, 90, 120, 120, 120]);
    }

    #[test]
    fn pods_with_one_cluster_id_miss_each_others_prefixes() {
        let mut layout = Layout::new(2, 3);
        layout.clusters[1] = layout.clusters[0];
        let fault = drill(layout, |_| {}).unwrap_err();
        let missing = "node 0 of pod 0 misses 10.0.3.0/24 of node 3 of pod 1, from reflector 0";
        assert!(fault.contains(missing), "{fault}");
        // Three nodes of either pod miss six prefixes from two reflectors.
        assert!(fault.contains("72 wrong in all"), "{fault}");
    }
}
