//! The table of figures: value, ceiling, ratio, aim, verdict.

/// Figures as they were measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
}

impl Report {
    /// A figure that should be at least `aim` times its ceiling.
    pub fn at_least(&mut self, what: &str, value: f64, unit: &str, ceiling: (&str, f64), aim: f64) {
        let ratio = value / ceiling.1;
        self.row(
            what,
            format!("{value:.0} {unit}"),
            format!("{ratio:.2} × {} ({:.0} {unit})", ceiling.0, ceiling.1),
            aim_text("≥", aim, ratio >= aim),
        );
    }

    /// A figure that should be at most `aim` in its own unit.
    pub fn at_most(&mut self, what: &str, value: f64, unit: &str, against: String, aim: f64) {
        self.row(what, format!("{value:.2} {unit}"), against, aim_text("≤", aim, value <= aim));
    }

    /// A figure without an aim.
    pub fn note(&mut self, what: &str, value: String) {
        self.row(what, value, String::new(), String::new());
    }

    fn row(&mut self, what: &str, value: String, against: String, aim: String) {
        println!("{what}: {value}  {against}  {aim}");
        self.rows.push([what.to_owned(), value, against, aim]);
    }

    /// Prints all figures as a Markdown table, if there are any.
    pub fn print(&self) {
        if self.rows.is_empty() {
            return;
        }
        println!("\n| measure | value | against | aim |\n|---|---:|---|---|");
        for [what, value, against, aim] in &self.rows {
            println!("| {what} | {value} | {against} | {aim} |");
        }
    }
}

fn aim_text(sign: &str, aim: f64, is_met: bool) -> String {
    // As short as it was written, or to the hundredth where it was computed.
    let aim = format!("{aim:.2}");
    let aim = aim.trim_end_matches('0').trim_end_matches('.');
    format!("{sign} {aim}: {}", if is_met { "met" } else { "missed" })
}

/// The p-th percentile (0..100) of figures, which it sorts.
pub fn percentile(figures: &mut [f64], p: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let place = ((figures.len() as f64 - 1.0) * p / 100.0).round();
    figures.get(place as usize).copied().unwrap_or(f64::NAN)
}
