//! Writes one file anew with all of its mutants in it, each behind `crate::woven::on(NUMBER)`.
//! Operands are evaluated once, before the choice of the operator, so that nested expressions do not multiply.

use std::ops::Range;

use proc_macro2::LineColumn;
use syn::{
    BinOp, Expr,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::mutant::{Genre, Mutant, Position};

/// The file's text with its mutants, which are numbered as they stand in the whole list. Each mutant's own text begins a line with its mark
/// ([`mark`]), so that a compiler's complaint about a line tells whose it is.
pub fn weave(text: &str, mutants: &[(usize, &Mutant)]) -> syn::Result<String> {
    let lines: Vec<usize> = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut finder = Finder { text, lines, mutants, edits: Vec::new() };
    finder.visit_file(&syn::parse_file(text)?);
    let mut edits = finder.edits;
    // Outer ones first, insertions before what begins at the same place.
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end != edit.at.start, usize::MAX - edit.at.end));
    Ok(Loom { text, edits: &edits }.render(&(0..text.len()), 0))
}

/// What stands before a mutant's own text, on a line of its own.
pub fn mark(number: usize) -> String {
    format!("\n/*mutant {number}*/ ")
}

/// The numbers that a line of a woven file is marked with.
pub fn marked(line: &str) -> Option<usize> {
    line.strip_prefix("/*mutant ")?.split_once("*/")?.0.parse().ok()
}

fn on(number: usize) -> String {
    format!("crate::woven::on({number})")
}

/// One place to rewrite: bytes of the file, and how.
struct Edit {
    at: Range<usize>,
    how: How,
}

enum How {
    /// At the start of a function's body.
    Return(Vec<(usize, String)>),
    /// Both sides as values, or by reference where the operator compares.
    Binary { sides: [Range<usize>; 2], original: String, other: Vec<(usize, String)>, compares: bool },
    /// `&&` or `||`, and the number of the other one.
    Lazy { sides: [Range<usize>; 2], and: bool, number: usize },
    /// `a += b` and its like.
    Assign { sides: [Range<usize>; 2], original: String, other: Vec<(usize, String)> },
    /// `!a`, `-a`, without.
    Unary { side: Range<usize>, operator: String, number: usize },
    /// An arm: the range is its guard's, or empty and behind its pattern.
    Arm { guard: Option<Range<usize>>, deleted: Option<usize>, guards: Vec<(usize, String)> },
    /// A struct expression without one of its fields.
    Struct(Vec<(usize, Range<usize>)>),
}

struct Finder<'a> {
    text: &'a str,
    lines: Vec<usize>,
    mutants: &'a [(usize, &'a Mutant)],
    edits: Vec<Edit>,
}

impl Finder<'_> {
    fn byte(&self, at: LineColumn) -> usize {
        let line = self.lines[at.line - 1];
        self.text[line..].char_indices().nth(at.column).map_or(self.text.len(), |(offset, _)| line + offset)
    }

    fn bytes(&self, node: &impl Spanned) -> Range<usize> {
        let span = node.span();
        self.byte(span.start())..self.byte(span.end())
    }

    /// The mutants of this kind that begin where the node does: number and replacement.
    fn found(&self, genre: Genre, node: &impl Spanned) -> Vec<(usize, String)> {
        let start = node.span().start();
        let start = Position { line: start.line, column: start.column + 1 };
        let here = self.mutants.iter().filter(|(_, mutant)| mutant.genre == genre && mutant.span.start == start);
        here.map(|(number, mutant)| (*number, mutant.replacement.clone())).collect()
    }

    fn body(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let returns = self.found(Genre::FnValue, first);
        let start = self.bytes(first).start;
        self.add(start..start, !returns.is_empty(), How::Return(returns));
    }

    fn add(&mut self, at: Range<usize>, some: bool, how: How) {
        if some {
            self.edits.push(Edit { at, how });
        }
    }
}

/// Whether a condition binds with `let`, which no expression around it may hide.
fn binds(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => binds(&binary.left) || binds(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.body(&function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.body(&function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.body(block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let other = self.found(Genre::BinaryOperator, &binary.op);
        let sides = [self.bytes(&binary.left), self.bytes(&binary.right)];
        let original = self.text[self.bytes(&binary.op)].to_owned();
        let at = sides[0].start..sides[1].end;
        match (&binary.op, other.first()) {
            (BinOp::And(_) | BinOp::Or(_), Some((number, _))) if !binds(&binary.left) && !binds(&binary.right) => {
                self.add(at, true, How::Lazy { sides, and: original == "&&", number: *number });
            }
            (BinOp::And(_) | BinOp::Or(_), _) | (_, None) => {}
            (_, Some(_)) if original.ends_with('=') && !matches!(&*original, "==" | "!=" | "<=" | ">=") => {
                self.add(at, true, How::Assign { sides, original, other });
            }
            (_, Some(_)) => {
                let compares = matches!(&*original, "==" | "!=" | "<=" | ">=" | "<" | ">");
                self.add(at, true, How::Binary { sides, original, other, compares });
            }
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if let [(number, _)] = self.found(Genre::UnaryOperator, &unary.op)[..] {
            let operator = self.text[self.bytes(&unary.op)].to_owned();
            let side = self.bytes(&*unary.expr);
            self.add(self.bytes(unary), true, How::Unary { side, operator, number });
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let deleted = self.found(Genre::MatchArm, arm).first().map(|(number, _)| *number);
        let guard = arm.guard.as_ref().map(|(_, guard)| &**guard);
        let guards = guard.map(|guard| self.found(Genre::MatchArmGuard, guard)).unwrap_or_default();
        if !guard.is_some_and(binds) {
            let behind = self.bytes(&arm.pat).end;
            let guard = guard.map(|guard| self.bytes(guard));
            let some = deleted.is_some() || !guards.is_empty();
            self.add(guard.clone().unwrap_or(behind..behind), some, How::Arm { guard, deleted, guards });
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, made: &'ast syn::ExprStruct) {
        let fields = made.fields.iter().filter_map(|field| {
            let number = self.found(Genre::StructField, field).first()?.0;
            let whole = self.bytes(field);
            // With its comma: a field that goes is never the last one, `..base` follows.
            let comma = self.text[whole.end..].find(',')?;
            Some((number, whole.start..whole.end + comma + 1))
        });
        let fields: Vec<_> = fields.collect();
        self.add(self.bytes(made), !fields.is_empty(), How::Struct(fields));
        visit::visit_expr_struct(self, made);
    }
}

struct Loom<'a> {
    text: &'a str,
    edits: &'a [Edit],
}

impl Loom<'_> {
    /// The text of these bytes with the edits inside them, from the one of this place in the list on.
    fn render(&self, range: &Range<usize>, from: usize) -> String {
        let (mut out, mut at) = (String::new(), range.start);
        for (place, edit) in self.edits.iter().enumerate().skip(from) {
            if edit.at.start >= at && edit.at.end <= range.end {
                out.push_str(&self.text[at..edit.at.start]);
                out.push_str(&self.write(place, edit));
                at = edit.at.end;
            }
        }
        out.push_str(&self.text[at..range.end]);
        out
    }

    fn write(&self, place: usize, edit: &Edit) -> String {
        // What is inside an edit comes behind it in the list.
        let part = |range: &Range<usize>| self.render(range, place + 1);
        let when = |number: &usize, then: String| format!("if {} {{{}{then}\n}} ", on(*number), mark(*number));
        match &edit.how {
            How::Return(values) => {
                values.iter().map(|(number, value)| when(number, format!("return {value};"))).collect()
            }
            How::Binary { sides: [left, right], original, other, compares } => {
                let (take, deref) = if *compares { ("&", "*") } else { ("", "") };
                let of = |operator: &str| format!("{deref}l {operator} {deref}r");
                let others: String =
                    other.iter().map(|(number, operator)| when(number, of(operator)) + "else ").collect();
                let (left, right) = (part(left), part(right));
                format!("(match ({take}({left}), {take}({right})) {{ (l, r) => {others}{{ {} }} }})", of(original))
            }
            // With the switch off the left side decides as ever; on, the other way round.
            How::Lazy { sides: [left, right], and, number } => {
                let decides = if *and { "==" } else { "!=" };
                let (left, right, on, mark) = (part(left), part(right), on(*number), mark(*number));
                format!("(match ({left}) {{ l => if l {decides} {on} {{{mark}l\n}} else {{ {right} }} }})")
            }
            How::Assign { sides: [left, right], original, other } => {
                let (left, right) = (part(left), part(right));
                let of = |operator: &str| format!("{left} {operator} r");
                let others: String =
                    other.iter().map(|(number, operator)| when(number, of(operator)) + "else ").collect();
                format!("(match ({right}) {{ r => {others}{{ {} }} }})", of(original))
            }
            How::Unary { side, operator, number } => {
                format!("(match ({}) {{ v => {}else {{ {operator}v }} }})", part(side), when(number, "v".to_owned()))
            }
            How::Arm { guard, deleted, guards } => {
                let mut condition = guard.as_ref().map_or("true".to_owned(), |guard| format!("({})", part(guard)));
                for (number, value) in guards {
                    let (on, mark) = (on(*number), mark(*number));
                    condition = if value == "true" {
                        format!("({mark}{on} || {condition})")
                    } else {
                        format!("({mark}!{on} && {condition})")
                    };
                }
                if let Some(number) = deleted {
                    condition = format!("{}!{} && {condition}", mark(*number), on(*number));
                }
                format!("{}{condition}", if guard.is_none() { " if " } else { "" })
            }
            How::Struct(fields) => {
                let without = |(number, field): &(usize, Range<usize>)| {
                    let rest = part(&(edit.at.start..field.start)) + &part(&(field.end..edit.at.end));
                    when(number, rest) + "else "
                };
                format!("({}{{ {} }})", fields.iter().map(without).collect::<String>(), part(&edit.at))
            }
        }
    }
}
