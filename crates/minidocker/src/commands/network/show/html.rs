//! The picture as a page: the drawing, and as tables what it has no room for.

use std::fmt::Write as _;

use engine::ops::survey::Survey;
use lab::report::{STYLE, escape};

use super::picture::Picture;
use super::svg;

/// A whole page that needs no other file, no network and no script.
pub(super) fn page(survey: &Survey, picture: &Picture) -> String {
    let name = rustix::system::uname();
    let title = format!("Networks of {}", name.nodename().to_string_lossy());
    let containers: usize = survey.namespaces.iter().map(|space| space.containers.len()).sum();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0}</title>\n<style>\n{STYLE}svg.net {{ max-width: 100%; height: auto; min-width: 44rem; }}\n</style>\n</head>\n<body>\n\
         <header><h1>{0}</h1><p class=\"soft\">Linux {1}; {2} network namespaces, {containers} containers, {3} bridges. As the kernel tells it.</p></header>\n",
        escape(&title),
        escape(&name.release().to_string_lossy()),
        survey.namespaces.len(),
        picture.lanes.len()
    );
    let _ = writeln!(html, "<div class=\"box\">{}</div>", svg::draw(picture));
    links(&mut html, survey);
    ports(&mut html, survey);
    if let Some(rules) = &survey.rules {
        let _ = writeln!(
            html,
            "<section><h2>Rules</h2><p>Table <code>{0}</code>, for the bridges {1}. <code>nft list table {0}</code> shows it.</p>",
            escape(&rules.table),
            escape(&rules.bridges.join(", "))
        );
        let row = |(chain, count): &(String, usize)| vec![chain.clone(), count.to_string()];
        table(&mut html, &["Chain", "Rules"], rules.chains.iter().map(row));
        html.push_str("</section>\n");
    }
    html.push_str("</body>\n</html>\n");
    html
}

fn links(html: &mut String, survey: &Survey) {
    html.push_str("<section><h2>Links</h2>");
    let rows = survey.namespaces.iter().flat_map(|space| {
        let owner = match (&space.other, space.host) {
            (_, true) => "host".to_owned(),
            (Some((pid, name)), _) => format!("{name} (pid {pid})"),
            (None, _) => space.containers.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", "),
        };
        space.links.iter().filter(|link| link.name != "lo").map(move |link| {
            vec![
                owner.clone(),
                link.name.clone(),
                link.kind.clone().unwrap_or_default(),
                if !link.up {
                    "down"
                } else if link.running {
                    "up"
                } else {
                    "no carrier"
                }
                .to_owned(),
                link.addresses.join(" "),
                link.mac.clone().unwrap_or_default(),
                link.mtu.to_string(),
                link.rate.map(|rate| rate.to_string()).unwrap_or_default(),
                crate::values::sizes::decimal(link.traffic.0),
                crate::values::sizes::decimal(link.traffic.1),
            ]
        })
    });
    let heads = [
        "Namespace",
        "Link",
        "Kind",
        "State",
        "Addresses",
        "MAC",
        "MTU",
        "Sends at most",
        "Received",
        "Sent",
    ];
    table(html, &heads, rows);
    html.push_str("</section>\n");
}

fn ports(html: &mut String, survey: &Survey) {
    if survey.ports.is_empty() {
        return;
    }
    html.push_str("<section><h2>Published ports</h2>");
    let rows = survey.ports.iter().map(|port| {
        vec![
            port.address.map_or_else(|| "every address".to_owned(), |address| address.to_string()),
            format!("{}/{}", port.host, port.protocol),
            format!("{}, port {}", port.to, port.port),
        ]
    });
    table(html, &["Of the host", "Port", "Leads to"], rows);
    html.push_str("</section>\n");
}

fn table(html: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    html.push_str("<div class=\"box\"><table><thead><tr>");
    for head in heads {
        let _ = write!(html, "<th>{}</th>", escape(head));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(&cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::survey;
    use super::*;

    #[test]
    fn a_page_has_the_drawing_and_the_tables() {
        let survey = survey();
        let html = page(&survey, &Picture::new(&survey));
        for part in ["<svg class=\"net\"", "<h2>Links</h2>", "<h2>Published ports</h2>", "<h2>Rules</h2>"] {
            assert_eq!(html.matches(part).count(), 1, "{part}");
        }
        assert!(html.contains("<td>8080/tcp</td><td>172.30.0.2, port 80</td>"));
        assert!(!html.contains("http://") && !html.contains("https://"), "needs no network");
    }
}
