//! Pictures of results, as SVG.
//!
//! Two kinds: what one run received over time, and how long single things took where that was timed;
//! and the figures of many runs side by side: bars, or lines where the runs differ in a number.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value;

/// Which figure of results is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Figure {
    /// Wall time.
    Seconds,
    /// CPU time of the target.
    Cpu,
    /// The most memory of the target that was resident.
    PeakRss,
}

/// Points under a name.
type Series = (String, Vec<(f64, f64)>);

/// One run's place in a picture.
struct Entry {
    label: String,
    scenario: String,
    arguments: serde_json::Map<String, Value>,
    figure: f64,
}

/// A chart of lines. Its axes begin at 0.
struct Chart<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    x_words: fn(f64) -> String,
    series: &'a [Series],
}

/// Draws what a run has received over time, in seconds and counts, and below it the curve of its
/// latencies, in nines of a percentile and seconds.
///
/// # Errors
/// If the file cannot be written, in words.
pub(crate) fn draw_run(
    path: &Path,
    title: &str,
    timeline: Vec<(f64, f64)>,
    latencies: Option<Vec<(f64, f64)>>,
) -> Result<(), String> {
    let timeline = [(String::new(), timeline)];
    let latencies = latencies.map(|curve| [(String::new(), curve)]);
    let mut charts = vec![Chart {
        title,
        x: "seconds",
        y: "NLRI received",
        x_words: short,
        series: &timeline,
    }];
    charts.extend(latencies.as_ref().map(|latencies| Chart {
        title: "latency",
        x: "percentile",
        y: "seconds",
        x_words: percentile,
        series: latencies,
    }));
    draw_charts(path, &charts).map_err(|error| format!("{}: {error}", path.display()))
}

/// Draws a figure of results, which stand in files with one JSON object a line.
///
/// # Errors
/// If a file cannot be read or holds no results, or the picture cannot be written, in words.
pub(crate) fn draw_results(files: &[PathBuf], figure: Figure, path: &Path) -> Result<(), String> {
    let mut entries = Vec::new();
    for file in files {
        let words = |error: &dyn Error| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| words(&error))?;
        let label = file.file_stem().unwrap_or(file.as_os_str());
        let label = label.to_string_lossy();
        let before = entries.len();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let result: Value = serde_json::from_str(line).map_err(|error| words(&error))?;
            let entry = entry(&label, &result, figure);
            entries.push(entry.ok_or_else(|| {
                let missing = "no results of a scenario, or without that figure (--pid)";
                words(&io::Error::other(missing))
            })?);
        }
        if entries.len() == before {
            return Err(words(&io::Error::other("no results")));
        }
    }
    let drawn = match varying_argument(&entries) {
        Some(argument) => {
            let chart = Chart {
                title: &scenarios(&entries),
                x: &argument,
                y: figure.name(),
                x_words: short,
                series: &series_over(&entries, &argument),
            };
            draw_charts(path, &[chart])
        }
        None => draw_bars(path, figure, &entries),
    };
    drawn.map_err(|error| format!("{}: {error}", path.display()))
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Figure::Seconds => "seconds",
            Figure::Cpu => "CPU seconds of the target",
            Figure::PeakRss => "peak RSS of the target, MB",
        }
    }

    fn of(self, result: &Value) -> Option<f64> {
        match self {
            Figure::Seconds => result["seconds"].as_f64(),
            Figure::Cpu => result["dut"]["cpuSeconds"].as_f64(),
            Figure::PeakRss => Some(result["dut"]["peakRssBytes"].as_f64()? / 1e6),
        }
    }
}

fn entry(label: &str, result: &Value, figure: Figure) -> Option<Entry> {
    Some(Entry {
        label: label.into(),
        scenario: result["scenario"].as_str()?.into(),
        arguments: result["arguments"].as_object()?.clone(),
        figure: figure.of(result)?,
    })
}

/// The argument in which results of one scenario differ, if it is a number and has at least three
/// values.
fn varying_argument(entries: &[Entry]) -> Option<String> {
    let first = entries.first()?;
    if entries.iter().any(|entry| entry.scenario != first.scenario) {
        return None;
    }
    let varies = |name: &&String| {
        let values = entries.iter().map(|entry| entry.arguments.get(*name));
        let mut numbers: Vec<f64> = values.flatten().filter_map(Value::as_f64).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        numbers.len() >= 3
    };
    let names = first.arguments.keys().filter(|name| *name != "pid");
    names.clone().find(varies).cloned()
}

/// A line for each file, over the values of an argument.
fn series_over(entries: &[Entry], argument: &str) -> Vec<Series> {
    let mut series: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for entry in entries {
        if let Some(value) = entry.arguments.get(argument).and_then(Value::as_f64) {
            let points = series.entry(&entry.label).or_default();
            points.push((value, entry.figure));
        }
    }
    let sorted = |(label, mut points): (&str, Vec<(f64, f64)>)| {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        (label.to_owned(), points)
    };
    series.into_iter().map(sorted).collect()
}

fn scenarios(entries: &[Entry]) -> String {
    let mut names: Vec<&str> = entries.iter().map(|e| e.scenario.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Charts below each other.
fn draw_charts(path: &Path, charts: &[Chart<'_>]) -> Result<(), Box<dyn Error>> {
    let size = (SIZE.0, SIZE.1 * charts.len() as u32);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, chart) in root.split_evenly((charts.len(), 1)).iter().zip(charts) {
        draw_lines(area, chart)?;
    }
    root.present()?;
    Ok(())
}

fn draw_lines(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    chart: &Chart<'_>,
) -> Result<(), Box<dyn Error>> {
    let Chart { x, y, series, .. } = *chart;
    let points = || series.iter().flat_map(|(_, points)| points);
    let x_words = chart.x_words;
    let mut chart = ChartBuilder::on(area)
        .caption(chart.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d(
            0.0..above(points().map(|point| point.0)),
            0.0..above(points().map(|point| point.1)),
        )?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .max_light_lines(0)
        .bold_line_style(BLACK.mix(0.1))
        .x_label_formatter(&|value| x_words(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    for (number, (label, points)) in series.iter().enumerate() {
        let style = Palette99::pick(number).stroke_width(2);
        let line = chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        if !label.is_empty() {
            let key = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style);
            line.label(label).legend(key);
        }
    }
    if series.iter().any(|(label, _)| !label.is_empty()) {
        let mut legend = chart.configure_series_labels();
        legend.background_style(WHITE.mix(0.8)).draw()?;
    }
    Ok(())
}

/// A bar for each result, the longest as wide as there is room.
fn draw_bars(path: &Path, figure: Figure, entries: &[Entry]) -> Result<(), Box<dyn Error>> {
    let height = 64 + BAR_PITCH * entries.len() as u32;
    let root = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = ("sans-serif", 14).into_text_style(&root);
    let title = ("sans-serif", 18).into_text_style(&root);
    let heading = format!("{}: {}", scenarios(entries), figure.name());
    root.draw(&Text::new(heading, (12, 12), title))?;
    let most = above(entries.iter().map(|entry| entry.figure));
    let several = entries.iter().any(|e| e.scenario != entries[0].scenario);
    for (number, entry) in entries.iter().enumerate() {
        let top = (48 + BAR_PITCH * number as u32) as i32;
        let name = if several {
            format!("{} {}", entry.scenario, entry.label)
        } else {
            entry.label.clone()
        };
        root.draw(&Text::new(name, (12, top + 4), text.clone()))?;
        let Range { start, end } = BAR_ROOM;
        let width = f64::from(end - start) * entry.figure / most;
        let right = start + width.round() as i32;
        let place = [(start, top), (right, top + BAR_PITCH as i32 - 8)];
        let color = Palette99::pick(number).filled();
        root.draw(&Rectangle::new(place, color))?;
        let figure = format!("{:.3}", entry.figure);
        root.draw(&Text::new(figure, (right + 6, top + 4), text.clone()))?;
    }
    root.present()?;
    Ok(())
}

/// A number as it stands on an axis: 0.25, 40, 80k, 1.5M.
fn short(value: f64) -> String {
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    if value >= 1e6 {
        format!("{}M", rounded(value / 1e6))
    } else if value >= 1e4 {
        format!("{}k", rounded(value / 1e3))
    } else {
        rounded(value).to_string()
    }
}

/// A percentile by its number of nines: 0 %, 90 %, 99 %.
fn percentile(nines: f64) -> String {
    let left = 0.1f64.powf(nines);
    let digits = 10f64.powf(nines.floor() + 1.0);
    let rounded = ((1.0 - left) * 100.0 * digits).round() / digits;
    format!("{rounded} %")
}

/// The end of an axis: a little above the largest value, and above nothing.
fn above(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(0.0, f64::max);
    if most > 0.0 { most * 1.05 } else { 1.0 }
}

/// Of a picture, in pixels.
const SIZE: (u32, u32) = (880, 480);
/// From one bar to the next.
const BAR_PITCH: u32 = 28;
/// Where bars may be, from left to right.
const BAR_ROOM: Range<i32> = 260..800;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(directory: &Path, name: &str, results: &[Value]) -> PathBuf {
        let path = directory.join(name);
        let lines: String = results.iter().map(|result| format!("{result}\n")).collect();
        fs::write(&path, lines).unwrap();
        path
    }

    fn result(scenario: &str, prefixes: u32, seconds: f64) -> Value {
        let arguments = json!({"prefixes": prefixes, "senders": 2, "pid": 1000 + prefixes});
        let dut = json!({"cpuSeconds": 1.5, "peakRssBytes": 2_000_000});
        json!({"scenario": scenario, "arguments": arguments, "seconds": seconds, "dut": dut})
    }

    fn drawn(files: &[PathBuf], figure: Figure, directory: &Path) -> String {
        let svg = directory.join("picture.svg");
        draw_results(files, figure, &svg).unwrap();
        fs::read_to_string(svg).unwrap()
    }

    #[test]
    fn runs_that_differ_in_a_number_become_lines() {
        let directory = tempfile::tempdir().unwrap();
        let runs = |factor| [1u32, 2, 3].map(|n| result("load", n, factor * f64::from(n)));
        let files = [
            file(directory.path(), "one.json", &runs(1.0)),
            file(directory.path(), "other.json", &runs(2.0)),
        ];
        let svg = drawn(&files, Figure::Seconds, directory.path());
        for words in ["<polyline", "one", "other", "prefixes", "seconds"] {
            assert!(svg.contains(words), "{words} is not in {svg}");
        }
    }

    #[test]
    fn other_runs_become_bars() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            file(directory.path(), "one.json", &[result("load", 1, 0.5)]),
            file(directory.path(), "other.json", &[result("churn", 1, 0.25)]),
        ];
        let svg = drawn(&files, Figure::PeakRss, directory.path());
        for words in ["<rect", "load one", "churn other", "2.000", "peak RSS"] {
            assert!(svg.contains(words), "{words} is not in {svg}");
        }
    }

    #[test]
    fn what_is_no_result_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let svg = directory.path().join("picture.svg");
        for content in [json!({"scenario": "load"}), json!(7)] {
            let files = [file(directory.path(), "odd.json", &[content])];
            let words = draw_results(&files, Figure::Cpu, &svg).unwrap_err();
            assert!(words.contains("odd.json"), "{words}");
        }
        for nothing in ["/nowhere", "/dev/null"] {
            let words = draw_results(&[nothing.into()], Figure::Cpu, &svg).unwrap_err();
            assert!(words.starts_with(nothing), "{words}");
        }
    }

    #[test]
    fn a_run_with_latencies_has_two_charts() {
        let directory = tempfile::tempdir().unwrap();
        let svg = directory.path().join("picture.svg");
        let timeline = vec![(0.1, 5.0), (0.2, 10.0)];
        for (latencies, charts) in [(None, 1), (Some(vec![(0.0, 0.01), (2.0, 0.5)]), 2)] {
            draw_run(&svg, "3 routers", timeline.clone(), latencies).unwrap();
            let drawn = fs::read_to_string(&svg).unwrap();
            let size = format!("height=\"{}\"", 480 * charts);
            assert!(drawn.contains(&size), "{drawn}");
            assert_eq!(drawn.matches("NLRI received").count(), 1);
            assert_eq!(drawn.contains("percentile"), charts == 2);
            assert_eq!(drawn.contains("90 %"), charts == 2);
        }
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        let words = [0.0, 0.5, 1.0, 2.0, 3.0].map(percentile);
        assert_eq!(words, ["0 %", "68.4 %", "90 %", "99 %", "99.9 %"]);
        let words = [0.25, 40.0, 80_000.0, 1_500_000.0].map(short);
        assert_eq!(words, ["0.25", "40", "80k", "1.5M"]);
    }
}
