//! What a pod is doing, by Podman's rule, and what one can be asked to be.

use std::time::SystemTime;

use super::*;

#[test]
fn states_are_podmans() {
    let (up, paused) = (State::Running(SystemTime::UNIX_EPOCH, 7), State::Paused(SystemTime::UNIX_EPOCH, 7));
    let (ended, made) = (State::Exited(SystemTime::UNIX_EPOCH, 0), State::Created);
    let lost = State::Lost;
    for (states, expected) in [
        (vec![&made], PodState::Created),
        (vec![&made, &made], PodState::Created),
        (vec![&up], PodState::Running),
        (vec![&up, &up], PodState::Running),
        (vec![&up, &made], PodState::Degraded),
        (vec![&up, &ended], PodState::Degraded),
        (vec![&up, &paused], PodState::Degraded),
        (vec![&paused, &paused], PodState::Paused),
        (vec![&ended, &ended], PodState::Exited),
        (vec![&lost, &ended], PodState::Exited),
        (vec![&ended, &made], PodState::Stopped),
        (vec![&paused, &ended], PodState::Stopped),
        (vec![&paused, &made], PodState::Created),
    ] {
        assert_eq!(PodState::of(states.iter().copied()), expected, "{states:?}");
    }
}

#[test]
fn an_infra_may_do_nothing_and_has_what_is_shared() {
    let new = NewPod {
        name: Some("web".to_owned()),
        hostname: Some("front".to_owned()),
        shm_size: Some(1 << 20),
        pod: Pod { shares: Share::USUAL.to_vec(), stops: true },
        ..NewPod::default()
    };
    assert!(check(&new).is_ok());
    let infra = new.clone().infra();
    assert_eq!((infra.image.to_string(), infra.network.mode), ("pause".to_owned(), NetworkMode::Bridge));
    assert_eq!((infra.storage.shm_size, infra.security.cap_drop), (Some(1 << 20), vec!["ALL".to_owned()]));
    assert_eq!(infra.namespaces.hostname.as_deref(), Some("front"));
    let none = NewPod { pod: Pod::default(), ..NewPod::default() };
    assert!(check(&none).is_ok());
    assert_eq!(none.infra().network.mode, NetworkMode::None);
    let published = Network { publish: vec!["80:80".parse().unwrap()], ..Network::default() };
    let other = Network { mode: NetworkMode::Container("x".to_owned()), ..Network::default() };
    for (new, word) in [
        (NewPod { pod: Pod::default(), network: published, ..NewPod::default() }, "--share without net"),
        (NewPod { pod: Pod::default(), hostname: Some("x".to_owned()), ..NewPod::default() }, "--hostname"),
        (NewPod { pod: Pod::default(), shm_size: Some(1), ..NewPod::default() }, "--shm-size"),
        (NewPod { network: other, ..new }, "--network container:NAME"),
    ] {
        assert!(check(&new).unwrap_err().message.starts_with(word), "{word}");
    }
}
