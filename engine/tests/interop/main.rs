//! The daemon against routers that nobody here wrote, against recorded tables of the Internet, and
//! against peers and files that misbehave.
//!
//! The binary under test runs as its users run it: manifests in a directory, questions over the
//! admin socket. Real routers sit in network namespaces of their own, 10.0.0.5 and 2001:db8::5
//! being ringbgp, 10.0.0.6 and 2001:db8::6 the router, 10.0.0.7 and 2001:db8::7 a second one. That needs root, `ip` and the router's
//! package; a test that misses one of them says `SKIPPED` and passes, unless
//! `RINGBGP_REQUIRE_ROUTERS=1`. Scripted peers need nothing: they run on the loopback interface, and so
//! does stayrtr, a cache of the RPKI.
//!
//! Every wait is for a condition, with a deadline. "Nothing happens" is shown by a sentinel: a
//! later change that has arrived while the earlier one had no effect.

mod bird;
mod cells;
mod daemon;
mod exabgp;
mod frr;
mod gobgp;
mod lab;
mod openbgpd;
mod process;
mod router;
mod scripted;
mod stayrtr;

mod add_path;
mod article;
mod capabilities;
mod communities;
mod drivers;
mod dynamic;
mod files;
mod graceful_shutdown;
mod lacking;
mod limits;
mod link_local;
mod live;
mod malformed;
mod misbehaviour;
mod offers;
mod options;
mod refreshes;
mod relay;
mod replay;
mod restarts;
mod route_policy;
mod rpki;
mod sessions;
mod watching;
