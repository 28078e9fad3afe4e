//! When what is killed: spread over an undisturbed run, in turns flow-shim, the connector, and flow-shim with its keeper, between
//! checkpoints and right after one.

use super::run::{Kill, Point, Victim};

/// `documents` and `checkpoints` (documents before each) are those of an undisturbed run.
pub fn spread(kills: u32, documents: u64, checkpoints: &[u64]) -> Vec<Kill> {
    if documents == 0 {
        return Vec::new();
    }
    let plan = |index: u32| {
        let at = (documents * u64::from(index + 1) / u64::from(kills + 1)).max(1);
        let victim = [Victim::Shim, Victim::Connector, Victim::ShimAndKeeper][index as usize % 3];
        // The first checkpoints may come before any document.
        let checkpoint = checkpoints.iter().zip(1..).find(|(it, _)| **it >= at).filter(|_| index % 4 >= 2);
        match checkpoint {
            Some((documents, number)) => Kill { victim, after: Point::Checkpoints(number), documents: *documents },
            None => Kill { victim, after: Point::Documents(at), documents: at },
        }
    };
    (0..kills).map(plan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_spread_and_take_turns() {
        let kill = |victim, after, documents| Kill { victim, after, documents };
        assert_eq!(
            spread(4, 100, &[0, 10, 50, 90, 100]),
            [
                kill(Victim::Shim, Point::Documents(20), 20),
                kill(Victim::Connector, Point::Documents(40), 40),
                kill(Victim::ShimAndKeeper, Point::Checkpoints(4), 90),
                kill(Victim::Shim, Point::Checkpoints(4), 90),
            ]
        );
        assert_eq!(spread(1, 1, &[1]), [kill(Victim::Shim, Point::Documents(1), 1)]);
        assert_eq!(spread(4, 0, &[0]), []);
    }
}
