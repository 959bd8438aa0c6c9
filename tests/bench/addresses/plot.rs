//! The figures.

use std::path::Path;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor,
    Rectangle, SVGBackend, SeriesLabelPosition, Text, WHITE,
};

use crate::cases::{Found, Way};
use crate::usage::{milliseconds, quantile};

/// p50 by number of allocated addresses.
pub const GROWTH: &str = "addresses-held.svg";
/// Allocations a second.
pub const RATE: &str = "addresses-rate.svg";
/// The share of concurrent ADDs that have ended, over time.
pub const AT_ONCE: &str = "addresses-at-once.svg";

const SIZE: (u32, u32) = (760, 380);
const FONT: (&str, i32) = ("sans-serif", 16);
const BLACK: RGBColor = RGBColor(40, 40, 40);

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The colour of a row in all figures. The palette is safe for colour-blind readers (Okabe and Ito).
const fn color(way: Way) -> RGBColor {
    match way {
        Way::Direct | Way::DirectOnDisk => RGBColor(0, 114, 178),
        Way::Daemon => RGBColor(0, 158, 115),
        Way::Against => RGBColor(213, 94, 0),
        Way::Claims => RGBColor(86, 180, 233),
        Way::Socket => RGBColor(148, 210, 120),
        Way::Process => RGBColor(150, 150, 150),
    }
}

/// Draws all figures into `folder`, each file atomically.
pub fn all(folder: &Path, found: &Found) {
    draw(&folder.join(GROWTH), |canvas| growth(canvas, found));
    draw(&folder.join(RATE), |canvas| rate(canvas, found));
    draw(&folder.join(AT_ONCE), |canvas| at_once(canvas, found));
}

fn draw(file: &Path, figure: impl FnOnce(&Canvas<'_>)) {
    let mut text = String::new();
    {
        let canvas = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        canvas.fill(&WHITE).unwrap();
        figure(&canvas);
        canvas.present().unwrap();
    }
    ::node::files::write_atomic(file, text.as_bytes(), 0o644).expect("the figure can be written");
}

/// The next power of ten.
fn above(value: f64) -> f64 {
    10_f64.powf(value.log10().ceil())
}

fn below(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

fn span(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let most = values.clone().fold(1.0, f64::max);
    below(values.fold(most, f64::min))..above(most * 1.01)
}

fn growth(canvas: &Canvas<'_>, found: &Found) {
    let mut levels: Vec<u32> = found.growth.iter().map(|level| level.held).collect();
    levels.sort_unstable();
    levels.dedup();
    let place = |held: u32| levels.iter().position(|level| *level == held).unwrap_or_default() as f64;
    let p50 = |times: &[Duration]| milliseconds(quantile(times, 500));
    let times = found.growth.iter().map(|level| p50(&level.times));
    let last = levels.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(canvas)
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.1..last + 0.1, span(times).log_scale())
        .unwrap();
    let name = |x: &f64| {
        let is_level = (x - x.round()).abs() < 1e-6 && *x >= -1e-6;
        if is_level {
            levels.get(x.round() as usize).map(u32::to_string).unwrap_or_default()
        } else {
            String::new()
        }
    };
    let mut mesh = chart.configure_mesh();
    mesh.label_style(FONT)
        .disable_x_mesh()
        .x_labels(levels.len() * 2)
        .x_label_formatter(&name)
        .light_line_style(WHITE);
    mesh.x_desc("allocated addresses").y_desc("p50 of an ADD, ms").draw().unwrap();
    for way in [Way::Direct, Way::Daemon, Way::Against] {
        let points: Vec<(f64, f64)> = found
            .growth
            .iter()
            .filter(|level| level.way == way)
            .map(|level| (place(level.held), p50(&level.times)))
            .collect();
        if points.is_empty() {
            continue;
        }
        let line = LineSeries::new(points, color(way).stroke_width(2)).point_size(4);
        chart
            .draw_series(line)
            .unwrap()
            .label(way.title())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color(way).stroke_width(2)));
    }
    let mut legend = chart.configure_series_labels();
    legend.label_font(FONT);
    legend
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
        .unwrap();
}

fn at_once(canvas: &Canvas<'_>, found: &Found) {
    let times = found.at_once.iter().flat_map(|m| &m.add.done.times).map(|time| milliseconds(*time));
    let mut chart = ChartBuilder::on(canvas)
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(span(times).log_scale(), 0.0..100.0)
        .unwrap();
    let mut mesh = chart.configure_mesh();
    mesh.label_style(FONT)
        .light_line_style(WHITE)
        .x_desc("ms since the common start")
        .y_desc("% of the ADDs ended")
        .draw()
        .unwrap();
    for measured in &found.at_once {
        let mut times = measured.add.done.times.clone();
        times.sort_unstable();
        let share = |n: usize| (n + 1) as f64 * 100.0 / times.len() as f64;
        let points: Vec<(f64, f64)> =
            times.iter().enumerate().map(|(n, time)| (milliseconds(*time), share(n))).collect();
        let color = color(measured.way);
        let line = LineSeries::new(points, color.stroke_width(2));
        chart
            .draw_series(line)
            .unwrap()
            .label(measured.way.title())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    let mut legend = chart.configure_series_labels();
    legend.label_font(FONT);
    legend
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
        .unwrap();
}

fn rate(canvas: &Canvas<'_>, found: &Found) {
    let allocations = found.rate.iter().filter(|m| m.way != Way::Process);
    let rates: Vec<(Way, f64)> = allocations.map(|m| (m.way, m.add.done.rate())).collect();
    let most = rates.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let row = f64::from(SIZE.1) / (rates.len() + 1) as f64;
    let (left, right) = (210.0, f64::from(SIZE.0) - 70.0);
    let pixel = |value: f64| value.round() as i32;
    for (n, (way, rate)) in rates.iter().enumerate() {
        let top = row * (n as f64 + 0.5);
        let end = left + (right - left) * rate / most;
        let bar = [(pixel(left), pixel(top)), (pixel(end), pixel(top + row * 0.6))];
        canvas.draw(&Rectangle::new(bar, color(*way).filled())).unwrap();
        let middle = pixel(top + row * 0.3 - 7.0);
        canvas.draw(&Text::new(way.title(), (12, middle), FONT)).unwrap();
        canvas.draw(&Text::new(format!("{rate:.0}"), (pixel(end) + 6, middle), FONT)).unwrap();
    }
}
