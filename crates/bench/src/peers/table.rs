//! The comparison as Markdown: the figures, ours to theirs, how much each fell beside busy processes, and what could
//! not be measured. No aims: what is shown is where we stand.

use super::{Figures, METRICS};

/// What a queue keeps its jobs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A database of its own in a PostgreSQL with durable defaults.
    Postgres,
    /// A file of its own.
    File,
    /// A Redis that syncs every write.
    Redis,
}

/// A queue and what it reached.
#[derive(Debug)]
pub struct Queue {
    name: String,
    kind: Kind,
    is_ours: bool,
    idle: Figures,
    busy: Figures,
    /// The machine's load before each of the two.
    loads: [Option<f64>; 2],
    faults: [Option<String>; 2],
}

impl Queue {
    pub fn new(name: String, kind: Kind, is_ours: bool) -> Queue {
        let (idle, busy) = (Figures::new(), Figures::new());
        Queue { name, kind, is_ours, idle, busy, loads: [None; 2], faults: [None, None] }
    }

    pub fn add(&mut self, is_busy: bool, load: Option<f64>, figures: Figures, fault: Option<String>) {
        let place = usize::from(is_busy);
        self.loads[place] = load;
        self.faults[place] = fault;
        match is_busy {
            false => self.idle = figures,
            true => self.busy = figures,
        }
    }

    /// One of its two measures in a line, as soon as it is there.
    pub fn told(&self, is_busy: bool) -> String {
        let cells = METRICS.map(|metric| format!("{metric} {}", figure(self.figures(is_busy).get(metric))));
        let fault = self.faults[usize::from(is_busy)].as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default();
        format!("peers: {}, {}: {}{fault}", self.name, condition(is_busy), cells.join(", "))
    }

    fn figures(&self, is_busy: bool) -> &Figures {
        if is_busy { &self.busy } else { &self.idle }
    }
}

/// All of it.
pub fn text(queues: &[Queue]) -> String {
    [figures(queues), ratios(queues), falls(queues), faults(queues)].concat()
}

fn figures(queues: &[Queue]) -> String {
    let mut text = String::from(
        "\n**Figures.** Durable enqueues a second with 1 and 16 producers; enqueue begun → handler started in ms; the \
         machine's load average before the measure.\n\n\
         | queue | beside | 1 producer /s | 16 producers /s | p50 ms | p95 ms | p99 ms | load |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for queue in queues {
        for is_busy in [false, true] {
            let cells = METRICS.map(|metric| figure(queue.figures(is_busy).get(metric))).join(" | ");
            let load = figure(queue.loads[usize::from(is_busy)].as_ref());
            text += &format!("| {} | {} | {cells} | {load} |\n", queue.name, condition(is_busy));
        }
    }
    text
}

/// Metrics that are set against the peers'.
const COMPARED: [&str; 3] = ["enq16", "latency_p50", "latency_p99"];

fn ratios(queues: &[Queue]) -> String {
    let mut rows = String::new();
    for peer in queues.iter().filter(|queue| !queue.is_ours) {
        for (kind, name) in [(Kind::File, "SQLite"), (Kind::Postgres, "PostgreSQL")] {
            let ours: Vec<&Queue> = queues.iter().filter(|queue| queue.is_ours && queue.kind == kind).collect();
            if ours.is_empty() {
                continue;
            }
            let same = if kind == peer.kind { " (same kind of store)" } else { "" };
            let cells: Vec<String> = COMPARED
                .iter()
                .flat_map(|metric| [false, true].map(|is_busy| (metric, is_busy)))
                .map(|(metric, is_busy)| {
                    ratio(mean(&ours, is_busy, metric).as_ref(), peer.figures(is_busy).get(*metric))
                })
                .collect();
            rows += &format!("| {name} / {}{same} | {} |\n", peer.name, cells.join(" | "));
        }
    }
    if rows.is_empty() {
        return rows;
    }
    "\n**Ours / theirs.** Enqueues: above 1 we are faster; latency: below 1 we are. Ours is the \
     mean of before and after the peers.\n\n\
     | ours / peer | 16 producers, idle | busy | p50, idle | busy | p99, idle | busy |\n\
     |---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned()
        + &rows
}

/// Of ours from before and after the peers.
fn mean(ours: &[&Queue], is_busy: bool, metric: &str) -> Option<f64> {
    let values: Vec<f64> = ours.iter().filter_map(|queue| queue.figures(is_busy).get(metric).copied()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn falls(queues: &[Queue]) -> String {
    let mut text = String::from(
        "\n**Beside two CPU-bound processes / idle.** 1 is no loss; enqueues fall below it, latency rises above.\n\n\
         | queue | 1 producer | 16 producers | p50 | p95 | p99 |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for queue in queues {
        let cells = METRICS.map(|metric| ratio(queue.busy.get(metric), queue.idle.get(metric))).join(" | ");
        text += &format!("| {} | {cells} |\n", queue.name);
    }
    text
}

fn faults(queues: &[Queue]) -> String {
    let mut text = String::new();
    for queue in queues {
        match &queue.faults {
            [Some(idle), Some(busy)] if idle == busy => text += &format!("- {}: {idle}\n", queue.name),
            both => {
                for (is_busy, fault) in [false, true].into_iter().zip(both) {
                    if let Some(fault) = fault {
                        text += &format!("- {}, {}: {fault}\n", queue.name, condition(is_busy));
                    }
                }
            }
        }
    }
    if text.is_empty() { text } else { format!("\n**Not measured, or with a reservation.**\n\n{text}") }
}

fn condition(is_busy: bool) -> &'static str {
    if is_busy { "busy" } else { "idle" }
}

fn figure(value: Option<&f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if *value >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn ratio(value: Option<&f64>, against: Option<&f64>) -> String {
    let ratio = value.zip(against).filter(|(_, against)| **against > 0.0).map(|(value, against)| value / against);
    figure(ratio.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, is_ours: bool, idle: f64, busy: f64, fault: Option<&str>) -> Queue {
        let mut queue = Queue::new(name.to_owned(), Kind::File, is_ours);
        let figures = |value: f64| METRICS.iter().map(|metric| ((*metric).to_owned(), value)).collect();
        queue.add(false, Some(0.1), figures(idle), None);
        queue.add(true, None, figures(busy), fault.map(str::to_owned));
        queue
    }

    #[test]
    fn ours_stands_over_theirs_and_busy_over_idle() {
        let before = queue("Ours", true, 400.0, 250.0, None);
        let after = queue("Ours, again", true, 200.0, 50.0, None);
        let text = text(&[before, queue("Theirs", false, 100.0, 10.0, None), after]);
        assert!(text.contains("| SQLite / Theirs (same kind of store) | 3.00 | 15.00 | 3.00 | 15.00 | 3.00 | 15.00 |"));
        assert!(text.contains("| Theirs | 0.10 | 0.10 | 0.10 | 0.10 | 0.10 |"));
        assert!(!text.contains("Not measured"));
    }

    #[test]
    fn what_failed_is_said_and_shown_as_missing() {
        let mut broken = Queue::new("Broken".to_owned(), Kind::Redis, false);
        for is_busy in [false, true] {
            broken.add(is_busy, None, Figures::new(), Some("not built: no compiler".to_owned()));
        }
        let text = text(&[queue("Ours", true, 300.0, 150.0, Some("slow")), broken]);
        assert!(text.contains("| Broken | idle | – | – | – | – | – | – |"));
        assert!(text.contains("\n- Broken: not built: no compiler\n"));
        assert!(text.contains("\n- Ours, busy: slow\n"));
    }
}
