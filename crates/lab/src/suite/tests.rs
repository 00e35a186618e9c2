use super::*;

#[test]
fn every_shipped_suite_is_right() {
    for (name, text) in SHIPPED {
        let suite = parse(name, text).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(suite.name, name);
        assert!(!suite.title.is_empty() && !suite.about.is_empty(), "{name}");
        for case in &suite.cases {
            let which = format!("{name} {}", case.record.name);
            assert!(!case.record.title.is_empty() && !case.record.about.is_empty(), "{which}");
            assert_eq!(case.record.headline, case.record.metrics[0].name, "{which}");
            let program = case.run[0].as_str();
            if !matches!(program, "sh" | "/bin/true" | "/bin/sleep") {
                assert!(case.needs.iter().any(|need| need == program), "{which} needs {program}");
            }
        }
    }
}

/// Part C of the documents, word by word.
#[test]
fn the_loop_suite_has_the_exact_parameters() {
    let filling = Filling {
        cpus: 1,
        memory: 1 << 31,
        time: 0.0,
        scale: 1.0,
        directory: String::new(),
        exchange: String::new(),
        host: String::new(),
    };
    let suite = load("loop").unwrap();
    let lines: Vec<String> = suite
        .cases
        .iter()
        .map(|case| {
            let filling = Filling { time: case.time, ..filling.clone() };
            case.run.iter().map(|word| fill(word, &filling)).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "sysbench cpu --threads=100 --time=60 --cpu-max-prime=64000 run",
            "sysbench threads --threads=64 --thread-yields=100 --thread-locks=2 run",
            "sysbench memory --threads=100 --time=60 --memory-oper=write run",
            "sysbench memory --memory-block-size=1M --memory-total-size=10737418240 run",
            "sysbench fileio --file-total-size=10737418240 --file-test-mode=rndrw --time=300 --max-requests=0 run",
        ]
    );
}

const ONE: &str =
    "name = \"x\"\ntitle = \"X\"\n[[case]]\nname = \"a\"\ntitle = \"A\"\nreader = \"sysbench-cpu\"\n";

#[test]
fn what_is_not_known_is_named_with_its_line() {
    let published = |figure: &str| {
        let row = "source = \"s\", environment = \"e\", kind = \"container\", metric = \"total_time\"";
        format!("run = [\"a\"]\npublished = [{{ {row}, {figure} }}]\n")
    };
    let cases = [
        ("run = [\"a\"]\nheadlin = \"b\"\n", "line 8", "unknown field `headlin`"),
        ("run = [\"a\", \"{cpu}\"]\n", "line 7", "unknown placeholder {cpu}"),
        (
            "run = [\"a\"]\nheadline = \"b\"\n",
            "line 8",
            "the reader has no metric b: there are events_per_second",
        ),
        ("run = []\n", "line 7", "run has no words"),
        ("run = [\"a\"]\nnetwork = \"x\"\n", "line 8", "unknown variant `x`, expected one of"),
        (
            "run = [\"a\"]\n[[case]]\nname = \"a\"\ntitle = \"A\"\nrun = [\"a\"]\nreader = \"fio\"\n",
            "line 9",
            "a second case",
        ),
        ("run = [\"a\"]\nstart = { count = 2 }\n", "line 4", "bring their own reader"),
        ("run = [\"a\"\n", "line 7", ""),
        ("run = [\"a\"]\ntime = \"long\"\n", "line 8", "invalid type: string \"long\", expected f64"),
        (&published("ratio = 4"), "line 8", "a ratio needs what it is to: to = \"native\""),
        (&published("value = 1.0, ratio = 4, to = \"native\""), "line 8", "and not both"),
        (&published("ratio = 4, to = \"container\""), "line 8", "of another kind"),
        (&published("ratio = [3, 2], to = \"native\""), "line 8", "its lower end comes first"),
        (&published("ratio = \"x\", to = \"native\""), "line 8", "a number, or a lower and an upper one"),
    ];
    for (more, line, reason) in cases {
        let failure = parse("f.toml", &format!("{ONE}{more}")).expect_err(more);
        let text = failure.to_string();
        assert!(text.contains(&format!("f.toml, {line}: ")) && text.contains(reason), "{more}: {text}");
    }
    let failure = parse("f", &ONE.replace("sysbench-cpu", "sysbench")).unwrap_err().to_string();
    assert!(failure.contains("line 6") && failure.contains("`sysbench-fileio`"), "{failure}");
    assert!(load("curse").unwrap_err().hint.unwrap().starts_with("did you mean course?"));
    assert!(load("./none.toml").unwrap_err().to_string().contains("no such file"));
}

/// Part C and part E of the documents: they published ratios.
#[test]
fn ratios_of_the_documents_are_in_the_suites() {
    let told = |suite: &str| {
        let suite = load(suite).unwrap();
        let mut told = Vec::new();
        for case in suite.cases {
            for one in case.record.published {
                let Some(ratio) = one.ratio else { continue };
                let name = &case.record.name;
                told.push(format!("{name} {} {}-{} {:?}", one.metric, ratio.low, ratio.high, ratio.to));
            }
        }
        told
    };
    let part_c = told("loop");
    for row in [
        "cpu events_per_second 1-1 Native",
        "memory-100 throughput 1-1 Native",
        "memory-1m throughput 1-1 Native",
        "fileio operations_per_second 0.33-0.5 Native",
        "fileio latency_avg 4-4 Native",
        "fileio latency_max 20-20 Native",
    ] {
        assert!(part_c.iter().any(|one| one == row), "{row} of {part_c:?}");
    }
    let part_e = told("survey");
    for row in [
        "latency-nat round_trip 2-2 Native",
        "disk-random operations_per_second 0.5-0.5 Native",
        "mariadb transactions_per_second 0.6-0.6 Native",
        "start start_median 50-100 Container",
    ] {
        assert!(part_e.iter().any(|one| one == row), "{row} of {part_e:?}");
    }
}
