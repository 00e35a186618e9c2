//! What may go over a container's link: a bucket of tokens for each direction, before the end that sends.
//!
//! Towards the container that is the host's end of the pair. From the container it is the container's own end: who has
//! sent too much waits there, in the container's own socket, and nothing is lost. It takes CAP_NET_ADMIN to change it,
//! which containers do not have. [Decision 0027](../../../docs/decisions/0027-traffic-and-pictures.md).

use std::borrow::Cow;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use step::{Context, Failure, Shell, Step, Steps};

use crate::attachment::Attachment;
use crate::devices::open_inside;
use crate::netlink::{self, Refusal, Route};
use crate::network::Driver;
use crate::rate::{Bucket, Rates};
use crate::traffic::{self, TBF};

/// The steps that limit a link: for the monitor beside the pair, for init before the link is up.
pub(crate) fn plan(rates: Rates, to: &Attachment) -> (Steps, Steps) {
    let steps = |bucket: Option<Bucket>, step: &'static str, why: &'static str, link: &str| -> Steps {
        bucket
            .map(|bucket| Box::new(Limit { step, why, link: link.to_owned(), bucket }) as _)
            .into_iter()
            .collect()
    };
    // A link beside one of the host's has no end there: what comes to it is limited where it comes from.
    let towards = into(rates).filter(|_| to.driver() == Driver::Bridge);
    (
        steps(
            towards,
            "network.rate-in",
            "asked for: --network-rate in; what comes faster waits before the host's end of the cable",
            &to.host_link,
        ),
        steps(
            out_of(rates),
            "network.rate-out",
            "asked for: --network-rate out; who sends faster waits at the container's end, and nothing is lost; only \
             CAP_NET_ADMIN could change it",
            &to.link,
        ),
    )
}

fn into(rates: Rates) -> Option<Bucket> {
    rates.into.map(|rate| Bucket::into(rate, rates.burst))
}

fn out_of(rates: Rates) -> Option<Bucket> {
    rates.out_of.map(|rate| Bucket::out_of(rate, rates.burst))
}

/// A link of this process's namespace gets a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    step: &'static str,
    why: &'static str,
    link: String,
    bucket: Bucket,
}

impl Step for Limit {
    fn id(&self) -> &'static str {
        self.step
    }

    fn call(&self) -> String {
        let Bucket { rate, burst, limit } = self.bucket;
        format!(
            "sendto(netlink, RTM_NEWQDISC {{dev={}, root, kind=tbf, rate={rate}, burst={burst}, limit={limit}}})",
            self.link
        )
    }

    fn why(&self) -> Cow<'static, str> {
        self.why.into()
    }

    fn shell(&self) -> Shell {
        let Bucket { rate, burst, limit } = self.bucket;
        Shell::line(format!(
            "tc qdisc replace dev {} root handle 1: tbf rate {rate} burst {burst} limit {limit}",
            self.link
        ))
    }

    fn perform(&self, context: &mut Context) -> Result<(), Failure> {
        let socket = match context.netlink.take() {
            Some(socket) => socket,
            None => netlink::open().map_err(|error| Failure::new(self.step, "the route socket", error))?,
        };
        let route = Route::new(context.netlink.insert(socket));
        let index = route.index(&self.link).map_err(|errno| self.refused(errno.into()))?;
        traffic::set_bucket(route, index, self.bucket).map_err(|refusal| self.refused(refusal))
    }
}

impl Limit {
    fn refused(&self, refusal: Refusal) -> Failure {
        traffic::explain(self.step, format!("{} at {}", self.link, self.bucket.rate), refusal, TBF)
    }
}

/// Gives the link of a running container, in this network namespace, other limits. Where the kernel refuses one of them
/// both are as they were.
pub fn change_rates(to: &Attachment, namespace: &OwnedFd, old: Rates, new: Rates) -> Result<(), Failure> {
    let route = |error| Failure::new("network.rates", "the route socket", error);
    let outside = netlink::open().map_err(route)?;
    let inside = open_inside(namespace).map_err(route)?;
    let (host, container) = (Route::new(&outside), Route::new(&inside));
    let bridged = to.driver() == Driver::Bridge;
    let set_into = |rates| match bridged {
        true => set(host, "network.rate-in", &to.host_link, into(rates)),
        false => Ok(()),
    };
    set_into(new)?;
    set(container, "network.rate-out", &to.link, out_of(new)).inspect_err(|_| {
        // What it was before is what the kernel took before; a second refusal would tell nothing new.
        let _ = set_into(old);
    })
}

/// A link of the socket's namespace gets this bucket, or none.
fn set(route: Route<'_>, step: &'static str, link: &str, bucket: Option<Bucket>) -> Result<(), Failure> {
    let target = || match bucket {
        Some(bucket) => format!("{link} at {}", bucket.rate),
        None => link.to_owned(),
    };
    let refused = |refusal| traffic::explain(step, target(), refusal, TBF);
    let index = route.index(link).map_err(|errno: Errno| refused(errno.into()))?;
    match bucket {
        Some(bucket) => traffic::set_bucket(route, index, bucket),
        None => traffic::clear(route, index),
    }
    .map_err(refused)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::rate::Rate;

    /// Runs `test` on a pair of links, `here` and `there`, in a namespace of its own.
    fn with_pair(test: impl FnOnce(Route<'_>) + Send + 'static) {
        std::thread::spawn(move || {
            // Only a thread's own network: no memory or descriptors are concerned.
            #[allow(deprecated)]
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
            run("ip link add here type veth peer name there && ip link set here up && ip link set there up");
            test(Route::new(&netlink::open().unwrap()));
        })
        .join()
        .unwrap();
    }

    fn run(line: &str) -> String {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_kernel_has_what_was_asked_for_and_tc_shows_the_same() {
        with_pair(|route| {
            let index = route.index("here").unwrap();
            // The last one is more than 32 bits of bytes a second.
            for rate in [8_000, 10_000_000, 1_500_000, 80_000_000_000].map(Rate) {
                set(route, "x", "here", Some(Bucket::into(rate, Some(32 << 10)))).unwrap();
                let found = traffic::disciplines(route).unwrap();
                let found = found.iter().find(|one| one.link == index).unwrap();
                assert_eq!((found.kind.as_str(), found.rate), ("tbf", Some(rate)));
            }
            set(route, "x", "here", Some(Bucket::into(Rate(10_000_000), Some(32 << 10)))).unwrap();
            let shown = run("tc qdisc show dev here");
            assert!(shown.starts_with("qdisc tbf 1: root "), "{shown}");
            assert!(shown.contains("rate 10Mbit burst 32Kb lat "), "{shown}");
            // tc(8) has the same in mind.
            let step = Limit {
                step: "x",
                why: "",
                link: "there".to_owned(),
                bucket: Bucket::into(Rate(10_000_000), Some(32 << 10)),
            };
            let Shell::Lines(lines) = step.shell() else { panic!() };
            run(&lines[0]);
            assert_eq!(shown, run("tc qdisc show dev there"));
            set(route, "x", "here", None).unwrap();
            set(route, "x", "here", None).unwrap();
            assert!(!run("tc qdisc show dev here").contains("tbf"));
            let refused = set(route, "x", "gone", None).unwrap_err();
            assert_eq!(refused.target, "gone");
        });
    }

    #[test]
    fn a_kernel_that_cannot_is_told_with_the_way_out() {
        let refusal =
            Refusal { errno: Errno::NOENT, said: Some("Specified qdisc kind is unknown".to_owned()) };
        let failure = traffic::explain("network.rate-in", "md0 at 10mbit".to_owned(), refusal, TBF);
        assert_eq!(failure.to_string(), "network.rate-in on md0 at 10mbit: this kernel cannot shape traffic");
        assert_eq!(
            failure.hint.unwrap(),
            "load the modules (modprobe -a sch_tbf), or leave --network-rate off"
        );
    }
}
