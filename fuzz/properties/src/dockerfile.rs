//! Dockerfiles and what stands in them: a place that is told lies in the text, and an instruction is the same when it is
//! read anew on a line of its own.

use build::Ignore;
use build::dockerfile::expand::{expand, expand_text};
use build::dockerfile::{Instruction, Span, parse, parse_trigger};

/// The input as a Dockerfile, a trigger, a word, and patterns.
pub fn dockerfile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Err(error) => {
            assert!(!error.message.is_empty() && !error.message.contains('\n'), "{:?}", error.message);
            assert!(error.place.line <= text.matches('\n').count() + 1);
            assert!(!error.place.text.contains(char::is_control));
        }
        Ok(file) => {
            assert!(!file.stages.is_empty());
            for stage in &file.stages {
                within(stage.span, text);
                for step in &stage.steps {
                    within(step.span, text);
                    again(&step.instruction, &step.text, file.directives.escape);
                }
            }
        }
    }
    let _ = parse_trigger(text);
    let lookup = |name: &str| (name.len() < 3).then(|| "*a/b".repeat(name.len()));
    // A pattern over a text takes the time of their product.
    if text.len() < 2048 {
        let _ = (expand(text, '\\', &lookup), expand_text(text, '`', &lookup));
        if let Ok(ignore) = Ignore::parse(text) {
            for path in ["a", "a/b", "a/b/c.o"] {
                let excluded = ignore.excludes(path);
                // What an excluded directory has is looked into where an exception may be.
                let below = format!("{path}/x");
                assert!(
                    !excluded || ignore.excludes(&below) || ignore.may_include_below(path),
                    "{text:?} {path}"
                );
            }
        }
    }
}

fn within(span: Span, text: &str) {
    assert!(span.start <= span.end && span.end <= text.len(), "{span:?} of {}", text.len());
}

fn again(instruction: &Instruction, text: &str, escape: char) {
    // Their bodies are not on the line; and what white space kept from going on would go on.
    if text.contains("<<") || text.ends_with(escape) {
        return;
    }
    let source = format!("# escape={escape}\nFROM x\n{text}\n");
    let file = parse(&source).unwrap_or_else(|error| panic!("{error}"));
    let [step] = &file.stages[0].steps[..] else {
        panic!("{text:?} is {} instructions", file.stages[0].steps.len())
    };
    assert_eq!(without_places(&step.instruction), without_places(instruction), "{text:?}");
}

/// An instruction's words without where they stood.
fn without_places(instruction: &Instruction) -> String {
    let text = format!("{instruction:?}");
    let mut parts = text.split("Span { start: ");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        all.push_str(part.split_once(" }").map_or(part, |(_, rest)| rest));
    }
    all
}
