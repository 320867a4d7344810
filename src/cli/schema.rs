use super::{exit::Exit, print::print, screen::Screen};
use crate::stack;

/// Prints the JSON schema of the stack file.
pub(super) fn run(_: &Screen) -> Exit {
    print(&stack::schema_text());
    Exit::Done
}
