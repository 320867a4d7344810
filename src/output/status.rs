use super::{
    Style, Symbol, Tone,
    text::{hanging, pad, put, width},
};

/// One part of a page such as `status` or `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its heading; none for the first part of a page.
    pub title: Option<String>,
    /// What is in it.
    pub body: Body,
}

/// What a section holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Labels with a value each.
    Rows(Vec<Row>),
    /// Columns under headings.
    Table(Table),
}

/// A label with a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// How it stands, if that can be said.
    pub symbol: Option<Symbol>,
    /// What the value is of.
    pub label: String,
    /// The value.
    pub value: String,
    /// What to do about it, below the value.
    pub hint: Option<String>,
}

/// Columns under headings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The headings.
    pub head: Vec<String>,
    /// The rows: how each stands, and one text a column.
    pub rows: Vec<(Option<Symbol>, Vec<String>)>,
}

impl Section {
    /// A section of labels and values.
    pub fn rows(title: Option<&str>, rows: Vec<Row>) -> Self {
        Self {
            title: title.map(str::to_owned),
            body: Body::Rows(rows),
        }
    }

    /// A section of columns.
    pub fn table(title: Option<&str>, table: Table) -> Self {
        Self {
            title: title.map(str::to_owned),
            body: Body::Table(table),
        }
    }
}

impl Row {
    /// A label and a value, without more.
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            ..Self::default()
        }
    }

    /// Says how it stands.
    #[must_use]
    pub fn symbol(mut self, symbol: Symbol) -> Self {
        self.symbol = Some(symbol);
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A page of sections, an empty line between them.
pub fn sections_text(sections: &[Section], style: &Style) -> String {
    let mut out = String::new();
    for (number, section) in sections.iter().enumerate() {
        if number > 0 {
            put(&mut out, "");
        }
        let indent = if let Some(title) = &section.title {
            put(&mut out, &style.paint(Tone::Strong, &style.one_line(title)));
            2
        } else {
            0
        };
        match &section.body {
            Body::Rows(rows) => rows_text(&mut out, style, indent, rows),
            Body::Table(table) => table_text(&mut out, style, indent, table),
        }
    }
    out
}

fn rows_text(out: &mut String, style: &Style, indent: usize, rows: &[Row]) {
    let signs = rows.iter().any(|row| row.symbol.is_some());
    let label = |row: &Row| {
        let sign = match (signs, row.symbol) {
            (false, _) => String::new(),
            (true, symbol) => format!("{} ", style.symbol(symbol.unwrap_or(Symbol::Told))),
        };
        format!("{sign}{}", style.one_line(&row.label))
    };
    let column = rows.iter().map(|row| width(&label(row))).max().unwrap_or(0) + 2;
    for row in rows {
        hanging(out, style, indent, &label(row), column, &row.value);
        if row.value.is_empty() {
            put(out, &format!("{}{}", " ".repeat(indent), label(row)));
        }
        if let Some(hint) = &row.hint {
            hanging(out, style, indent + column, "", 0, hint);
        }
    }
}

fn table_text(out: &mut String, style: &Style, indent: usize, table: &Table) {
    let signs = table.rows.iter().any(|(symbol, _)| symbol.is_some());
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|(_, cells)| cells.iter().map(|cell| style.one_line(cell)).collect())
        .collect();
    let columns: Vec<usize> = (0..table.head.len())
        .map(|column| {
            let cells = rows.iter().chain([&table.head]).filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&columns)
            .map(|(cell, width)| pad(cell, *width))
            .collect();
        cells.join("  ")
    };
    let gap = if signs {
        width(style.sign(Symbol::Told)) + 1
    } else {
        0
    };
    let head = style.paint(Tone::Quiet, line(&table.head).trim_end());
    put(out, &format!("{}{head}", " ".repeat(indent + gap)));
    for ((symbol, _), cells) in table.rows.iter().zip(&rows) {
        let sign = if signs {
            format!("{} ", style.symbol(symbol.unwrap_or(Symbol::Told)))
        } else {
            String::new()
        };
        // Only the last column may be cut: it holds free text.
        let room = style.width.saturating_sub(indent + gap).max(20);
        put(
            out,
            &format!(
                "{}{sign}{}",
                " ".repeat(indent),
                style.fit(line(cells).trim_end(), room)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<Section> {
        vec![
            Section::rows(
                None,
                vec![
                    Row::new("stack", "demo"),
                    Row::new("cluster", "kind-demo, 3 nodes"),
                ],
            ),
            Section::rows(
                Some("Programs"),
                vec![
                    Row::new("docker", "27.1").symbol(Symbol::Done),
                    Row::new("kind", "not found")
                        .symbol(Symbol::Failed)
                        .hint("Install kind, or take kwok."),
                ],
            ),
            Section::table(
                Some("Components"),
                Table {
                    head: vec!["name".into(), "ready".into(), "drift".into()],
                    rows: vec![
                        (
                            Some(Symbol::Done),
                            vec!["monitoring".into(), "58/58".into(), String::new()],
                        ),
                        (
                            Some(Symbol::Warning),
                            vec!["shop".into(), "34/34".into(), "x".repeat(80)],
                        ),
                    ],
                },
            ),
        ]
    }

    #[test]
    fn a_page_lines_up_its_columns_and_stays_inside_its_width() {
        let text = sections_text(&page(), &Style::plain(60));
        insta::assert_snapshot!(text, @r"
        stack    demo
        cluster  kind-demo, 3 nodes

        Programs
          ok docker  27.1
          !! kind    not found
                     Install kind, or take kwok.

        Components
             name        ready  drift
          ok monitoring  58/58
          !  shop        34/34  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...
        ");
        assert!(text.lines().all(|line| line.len() <= 60));
    }
}
