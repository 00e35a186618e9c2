//! The terminal: its other screen in raw mode, and as it was on every way out. What it sends is waited for together with
//! signals. (crossterm would do the same with eleven crates more.)

use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::Mutex;
use std::time::Instant;

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};
use sys::signal::{SignalFd, Signals};

use super::drawing;
use super::keys::{Key, keys};
use super::view::View;
use crate::problem::Problem;

/// Why the wait is over.
pub(super) enum Woken {
    /// The time is.
    Over,
    /// The terminal has another size.
    Resized,
    Typed(Vec<Key>),
    /// A signal asks for the end, or the terminal is gone.
    Ended,
}

/// What the terminal was before; taken by whoever restores it.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The other screen; left when dropped.
pub(super) struct Screen {
    terminal: Terminal<Ansi>,
    signals: SignalFd,
}

/// Those that are no word to this program: children, pipes, stopping and going on.
const OTHERS: [i32; 6] = [17, 13, 18, 19, 21, 22];
const SIGWINCH: i32 = 28;

fn failed(cause: impl std::fmt::Display) -> Problem {
    Problem::new(format!("cannot use the terminal: {cause}"))
}

impl Screen {
    pub(super) fn enter() -> Result<Self, Problem> {
        let watched = Signals::all_but(&OTHERS);
        watched.block().map_err(failed)?;
        let signals = SignalFd::new(&watched).map_err(failed)?;
        // What came while somebody else had the terminal was for them.
        while let Ok(Some(_)) = signals.next() {}
        let stdin = io::stdin();
        let before = rustix::termios::tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        if let Ok(mut kept) = BEFORE.lock() {
            *kept = Some(before);
        }
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            restore();
            tell(info);
        }));
        rustix::termios::tcsetattr(&stdin, OptionalActions::Flush, &raw).map_err(failed)?;
        // The other screen, without a cursor and with nothing on it.
        write(b"\x1b[?1049h\x1b[?25l\x1b[2J").map_err(failed)?;
        let options = TerminalOptions { viewport: Viewport::Fullscreen };
        let terminal = Terminal::with_options(Ansi::default(), options).map_err(failed)?;
        Ok(Self { terminal, signals })
    }

    /// Gives the terminal back, for another program.
    pub(super) fn leave(self) {
        drop(self);
        let _ = std::panic::take_hook();
        std::panic::set_hook(Box::new(crate::on_panic));
        let _ = Signals::none().block();
    }

    pub(super) fn draw(&mut self, view: &mut View) -> Result<(), Problem> {
        self.terminal.draw(|frame| drawing::draw(frame, view)).map(drop).map_err(failed)
    }

    pub(super) fn wait(&mut self, until: Instant) -> Result<Woken, Problem> {
        let stdin = io::stdin();
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(Woken::Over),
            Err(Errno::INTR) => return Ok(Woken::Resized),
            result => drop(result.map_err(failed)?),
        }
        let [typed, _] = fds.map(|fd| !fd.revents().is_empty());
        let mut resized = false;
        while let Some(signal) = self.signals.next().map_err(failed)? {
            match signal {
                SIGWINCH => resized = true,
                _ => return Ok(Woken::Ended),
            }
        }
        if !typed {
            return Ok(if resized { Woken::Resized } else { Woken::Over });
        }
        let mut bytes = [0; 1024];
        match rustix::io::read(stdin.as_fd(), &mut bytes) {
            Ok(0) | Err(Errno::IO) => Ok(Woken::Ended),
            Ok(count) => Ok(Woken::Typed(keys(&bytes[..count]))),
            Err(Errno::INTR | Errno::AGAIN) => Ok(Woken::Resized),
            Err(errno) => Err(failed(errno)),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// The terminal as it was; does nothing the second time.
fn restore() {
    let before = BEFORE.lock().ok().and_then(|mut before| before.take());
    if let Some(before) = before {
        let _ = write(b"\x1b[0m\x1b[?25h\x1b[?1049l");
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush())
}

/// Draws by ECMA-48's sequences, which every terminal of today knows.
#[derive(Debug, Default)]
struct Ansi {
    /// What was drawn and not yet written.
    out: Vec<u8>,
}

impl Ansi {
    fn put(&mut self, text: &str) {
        self.out.extend(text.as_bytes());
    }

    fn look(&mut self, cell: &Cell) {
        self.put("\x1b[0");
        let marks =
            [(Modifier::BOLD, 1), (Modifier::DIM, 2), (Modifier::UNDERLINED, 4), (Modifier::REVERSED, 7)];
        for (mark, number) in marks {
            if cell.modifier.contains(mark) {
                self.put(&format!(";{number}"));
            }
        }
        for (colour, base) in [(cell.fg, 30), (cell.bg, 40)] {
            if let Some(number) = number(colour) {
                self.put(&format!(";{}", base + number));
            }
        }
        self.put("m");
    }
}

/// The eight colours that every terminal has, each in its user's own choice of them; 60 further the bright ones.
fn number(colour: Color) -> Option<u8> {
    Some(match colour {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 60,
        _ => return None,
    })
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut place = None;
        let mut style = None;
        for (x, y, cell) in content {
            if place != Some((x, y)) {
                self.put(&format!("\x1b[{};{}H", y + 1, x + 1));
            }
            let looks = (cell.fg, cell.bg, cell.modifier);
            if style != Some(looks) {
                self.look(cell);
                style = Some(looks);
            }
            self.put(cell.symbol());
            place = Some((x + 1, y));
        }
        self.put("\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.put("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.put("\x1b[?25h");
        Ok(())
    }

    // Nobody asks: the cursor is hidden.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        self.put(&format!("\x1b[{};{}H", y + 1, x + 1));
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.put("\x1b[0m\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.put(match region {
            ClearType::All => "\x1b[2J",
            ClearType::AfterCursor => "\x1b[J",
            ClearType::BeforeCursor => "\x1b[1J",
            ClearType::CurrentLine => "\x1b[2K",
            ClearType::UntilNewLine => "\x1b[K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        let size = rustix::termios::tcgetwinsize(io::stdout())?;
        // A terminal that does not know: the size of all terminals once.
        match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => Ok(Size::new(80, 24)),
            (columns, rows) => Ok(Size::new(columns, rows)),
        }
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        write(&std::mem::take(&mut self.out))
    }
}
