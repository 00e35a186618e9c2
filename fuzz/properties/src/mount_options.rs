//! Mount options, one a line: what they mean does not depend on how often or in which form it is said.

use runtime::options::Options;
use sys::mount::{ATIME, NODIRATIME};

/// MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE of mount(2).
const PROPAGATIONS: u64 = 1 << 18 | 1 << 19 | 1 << 20 | 1 << 17;

/// The lines of the input as options.
pub fn mount_options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let words: Vec<&str> = text.split('\n').collect();
    let options = Options::parse(&words);
    consistent(&options);

    // What is for the kernel's attributes is found again from its own words.
    let mut again: Vec<String> = options.words().into_iter().map(str::to_owned).collect();
    again.extend(options.propagation_word());
    let read = Options::parse(&again);
    assert_eq!(read.set, options.set, "{again:?}");
    assert_eq!(read.propagation, options.propagation, "{again:?}");
    if options.propagation != 0 {
        assert_eq!(read.propagation_recursive, options.propagation_recursive, "{again:?}");
    }
    assert!(read.data.is_empty(), "the file system would get {:?}", read.data);

    // Saying all of it twice changes nothing but the file system's own list.
    let twice: Vec<&str> = words.iter().chain(&words).copied().collect();
    let said = Options::parse(&twice);
    assert_eq!(Options { data: options.data.clone(), ..said.clone() }, options);
    assert_eq!(said.data, [options.data.clone(), options.data.clone()].concat());

    // The file system's own list is in order, and all of it comes from the input and back.
    let own: Vec<String> = options.data.iter().map(own_word).collect();
    let mut rest = words.iter();
    assert!(own.iter().all(|word| rest.any(|other| other == word)), "{own:?} out of {words:?}");
    assert_eq!(Options::parse(&own).data, options.data);

    let exact = options.exact();
    consistent(&exact);
    assert_eq!(exact.exact(), exact);
    // Access times that were only taken back stay as the mount has them.
    const TIMES: u64 = ATIME | NODIRATIME;
    assert_eq!(exact.set & !TIMES, options.set & !TIMES);
    assert_eq!(exact.clear & options.clear & !TIMES, options.clear & !TIMES);
    assert_eq!(options.passes_events(), options.propagation & (1 << 19 | 1 << 20) != 0);
}

fn own_word((key, value): &(String, Option<String>)) -> String {
    match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }
}

/// What mount_setattr(2) takes: nothing both set and cleared but the field of access times, which is cleared whenever
/// it is set.
fn consistent(options: &Options) {
    for (set, clear) in [(options.set, options.clear), (options.recursive_set, options.recursive_clear)] {
        assert_eq!(set & clear & !ATIME, 0, "{options:?}");
        assert!(set & ATIME == 0 || clear & ATIME == ATIME, "{options:?}");
    }
    assert!(!options.recursive || options.bind, "{options:?}");
    assert!(
        (options.propagation & !PROPAGATIONS) == 0 && options.propagation.count_ones() <= 1,
        "{options:?}"
    );
    assert!(options.propagation != 0 || !options.propagation_recursive, "{options:?}");
}
