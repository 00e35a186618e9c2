//! `idmap`: the owner of what is bound appears as the container's user, and the other way round; all other ids as what
//! they are. Pure: the kernel does it, mount_setattr(2).

/// On disk, as the host sees it through the mount, how many.
pub(crate) type Range = (u32, u32, u32);

/// The map of one kind of id. `owner`: of the source; `user`: of the program, as the container counts; `ids`: where the
/// container's ids begin on the host, and how many there are.
pub(crate) fn ranges(owner: u32, user: u32, ids: Option<(u32, u32)>) -> Vec<Range> {
    // The last id means none, user_namespaces(7).
    let (first, size) = ids.unwrap_or((0, u32::MAX));
    let mut ranges = Vec::new();
    let mut from = 0;
    let mut points: Vec<(u32, u32)> = vec![(user, owner)];
    if owner != user {
        points.push((owner, user));
    }
    points.retain(|(inside, _)| *inside < size);
    points.sort_unstable();
    for (inside, disk) in points {
        if inside > from {
            ranges.push((from, first + from, inside - from));
        }
        ranges.push((disk, first + inside, 1));
        from = inside + 1;
    }
    if from < size {
        ranges.push((from, first + from, size - from));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How an id of the disk is seen.
    fn seen(ranges: &[Range], disk: u32) -> Option<u32> {
        let (from, to, _) = ranges.iter().find(|(from, _, count)| disk >= *from && disk - from < *count)?;
        Some(to + (disk - from))
    }

    #[test]
    fn owner_and_user_change_places() {
        let map = ranges(1000, 33, None);
        assert_eq!(seen(&map, 1000), Some(33));
        assert_eq!(seen(&map, 33), Some(1000));
        for other in [0, 32, 34, 999, 1001, u32::MAX - 1] {
            assert_eq!(seen(&map, other), Some(other));
        }
        assert_eq!(seen(&map, u32::MAX), None);
        assert!(map.len() <= 5, "{map:?}");
    }

    #[test]
    fn in_a_user_namespace_the_ids_are_the_containers() {
        let map = ranges(0, 0, Some((100_000, 65536)));
        assert_eq!(
            (seen(&map, 0), seen(&map, 65535), seen(&map, 65536)),
            (Some(100_000), Some(165_535), None)
        );
        let map = ranges(1000, 0, Some((100_000, 65536)));
        assert_eq!((seen(&map, 1000), seen(&map, 0)), (Some(100_000), Some(101_000)));
        // The owner is none of the container's ids: it is the user all the same.
        let map = ranges(200_000, 5, Some((100_000, 65536)));
        assert_eq!((seen(&map, 200_000), seen(&map, 5), seen(&map, 6)), (Some(100_005), None, Some(100_006)));
        let user_outside = ranges(0, 70_000, Some((100_000, 65536)));
        assert_eq!(seen(&user_outside, 1), Some(100_001));
    }

    #[test]
    fn no_range_meets_another() {
        for (owner, user, ids) in [
            (1, 2, None),
            (2, 1, None),
            (0, u32::MAX - 1, None),
            (9, 9, Some((50, 10))),
            (0, 9, Some((50, 10))),
        ] {
            let map = ranges(owner, user, ids);
            let mut disk: Vec<_> = map.iter().map(|(from, _, count)| (*from, from + (count - 1))).collect();
            disk.sort_unstable();
            assert!(disk.windows(2).all(|pair| pair[0].1 < pair[1].0), "{owner} {user}: {map:?}");
        }
    }
}
