//! A fault: who does what, where in a script, in which world, and how flow-shim has to end.

use rustix::process::Signal;

use super::report::Tried;
use super::session::Act;
use super::world::{PLAIN, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Death,
    Modes,
    Stalls,
    Lines,
    Space,
    State,
    Requests,
    Time,
    Secrets,
    Memory,
}

#[derive(Clone, Copy)]
pub enum Throw {
    /// Only the world is special.
    Nothing,
    /// The connector follows these directions of the scripted source.
    Connector(&'static [&'static str]),
    /// The connector waits, and the runtime acts.
    Held(&'static [Act]),
    /// The runtime acts while the connector goes on.
    Meanwhile(&'static [Act]),
    /// The runtime acts after a checkpoint, another one in each variant.
    Checkpoint(&'static [Act]),
    /// In place of a line: its text and a number that varies become directions.
    Line(fn(&str, usize) -> Vec<String>),
    /// Tries of its own; many, or a few for the slice.
    Own(fn(usize) -> Vec<Tried>),
}

/// Where in a script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Places {
    Every,
    /// After half of the steps, behind a state and rows.
    Middle,
    Start,
    End,
}

/// In which modes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Modes {
    All,
    /// One of each protocol.
    Protocols,
    One,
    /// One of Fivetran's protocol.
    Fivetran,
}

/// What the faulty session commits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kept {
    All,
    /// What the last state before the place covers.
    Last,
    /// What any state before the place covers.
    Any,
    /// Everything or what any state covers.
    Some,
    Nothing,
}

/// How the faulty session ends.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// Exit codes; negative numbers are signals.
    pub exits: &'static [i32],
    /// What the last line of stderr contains.
    pub last: &'static str,
    pub kept: Kept,
    /// Seconds from the fault to the end.
    pub within: u64,
    /// Files may stay until the next start, or processes that nobody may kill.
    pub stays: bool,
    /// Nobody can read the last line.
    pub is_silent: bool,
}

pub struct Fault {
    pub group: Group,
    pub name: &'static str,
    pub throw: Throw,
    pub want: Want,
    pub places: Places,
    /// How many variants there are of each try.
    pub variants: usize,
    pub modes: Modes,
    pub world: World,
    /// It is about lines: connectors whose messages are none don't have it.
    pub lines: bool,
    /// The script is larger than all pipes.
    pub long: bool,
    /// It waits more than it computes.
    pub slow: bool,
    /// It takes too long for `cargo test`.
    pub heavy: bool,
}

const fn want(exits: &'static [i32], last: &'static str, kept: Kept) -> Want {
    Want { exits, last, kept, within: 60, stays: false, is_silent: false }
}

/// Everything is captured.
pub const WHOLE: Want = want(&[0], "", Kept::All);
/// Everything is captured, or the capture fails.
pub const WHOLE_OR_FAILS: Want = want(&[0, 1], "", Kept::Some);
/// flow-shim was killed.
pub const KILLED: Want = want(&[-9], "", Kept::Any);
/// flow-shim was asked to stop.
pub const STOPPED: Want = want(&[0, 143, 130], "", Kept::Any);

pub const fn fails(last: &'static str) -> Want {
    want(&[1], last, Kept::Last)
}

impl Want {
    pub const fn within(mut self, seconds: u64) -> Self {
        self.within = seconds;
        self
    }

    pub const fn kept(mut self, kept: Kept) -> Self {
        self.kept = kept;
        self
    }

    pub const fn exits(mut self, exits: &'static [i32]) -> Self {
        self.exits = exits;
        self
    }

    pub const fn stays(mut self) -> Self {
        self.stays = true;
        self
    }

    pub const fn silent(mut self) -> Self {
        self.is_silent = true;
        self
    }
}

pub const fn fault(group: Group, name: &'static str, throw: Throw, want: Want) -> Fault {
    Fault {
        group,
        name,
        throw,
        want,
        places: Places::Middle,
        variants: 1,
        modes: Modes::Protocols,
        world: PLAIN,
        lines: matches!(throw, Throw::Line(_)),
        long: false,
        slow: false,
        heavy: false,
    }
}

impl Fault {
    pub const fn at(mut self, places: Places) -> Self {
        self.places = places;
        self
    }

    pub const fn variants(mut self, count: usize) -> Self {
        self.variants = count;
        self
    }

    pub const fn in_modes(mut self, modes: Modes) -> Self {
        self.modes = modes;
        self
    }

    pub const fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    pub const fn of_lines(mut self) -> Self {
        self.lines = true;
        self
    }

    pub const fn long(mut self) -> Self {
        self.long = true;
        self
    }

    pub const fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    pub const fn heavy(mut self) -> Self {
        self.heavy = true;
        self
    }
}

/// How many cases of a list are tried: all of them, or a few in the slice.
pub fn few(most: usize) -> usize {
    if most == 1 { 2 } else { usize::MAX }
}

pub const KILL: Signal = Signal::KILL;
pub const TERM: Signal = Signal::TERM;
pub const INT: Signal = Signal::INT;
pub const STOP: Signal = Signal::STOP;
