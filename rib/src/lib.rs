//! The routing table of one BGP instance, shared by every shard without a lock.
