//! Faults that tests plant, to see that they are found: bugs that speakers with shared update
//! groups have had, each as small as it was there.

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One withdraw in seven is not told.
    LostWithdraw,
    /// A second change of a prefix that is still owed cancels the first.
    MissedCoalesce,
    /// A member is told its own paths.
    WrongSplitHorizon,
    /// A batch holds a prefix in two states; since withdraws leave first, the older may win.
    InvertedBatch,
    /// A member whose own path takes over does not hear that what it held before is gone.
    LostDisplacement,
    /// What was sent is compared by its attributes alone: two neighbors that say the same are one.
    AttributesOnly,
    /// What a route server's client is told instead of its own path is looked at only when the best
    /// path changes.
    StaleSecond,
    /// The table does not mark where only other paths than the best changed.
    UnmarkedOthers,
    /// With ADD-PATH: one path of several goes, and nobody is told.
    LostPathWithdraw,
    /// With ADD-PATH: an identifier is given to another path while somebody is behind who holds it.
    ReusedPathId,
    /// With ADD-PATH: where one of the paths goes, none takes its place.
    UnfilledPlace,
    /// With ADD-PATH: a member is told its own paths.
    OwnPathBack,
    /// Each external peer has a group of its own, though all are told the same.
    Unshared,
    /// What new members are owed goes out whole before anything else does.
    DumpsFirst,
    /// The group does not say which prefix ids it holds.
    NothingHeld,
    /// What a peer does not say again in a refresh stays.
    NoSweep,
    /// After our restart everybody is told at once what there is by then.
    Undeferred,
    /// One prefix in seven is not judged anew when what is valid of it changes.
    StaleValidation,
    /// Best paths stay as they were chosen when the settings say otherwise how.
    StaleSelection,
}
