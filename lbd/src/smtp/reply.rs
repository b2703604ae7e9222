//! SMTP replies, as bytes come in (RFC 5321 section 4.2).

use crate::plain::stripped;

/// The longest line that is read, in bytes. RFC 5321 section 4.5.3.1.5 allows 512; many servers
/// write more.
pub const MAX_LINE_BYTES: usize = 2048;

/// The most lines in one reply.
pub const MAX_LINES: usize = 128;

/// A complete reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reply {
    /// 200 to 599: the last line's. Postscreen's teaser ends a `220-` with a 4xx or 5xx line when
    /// it turns the client away, so earlier lines may carry another code.
    pub(super) code: u16,
    /// The text of each line, without control characters.
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// The last line's text, at most 200 characters of it.
    pub(super) fn text(&self) -> String {
        let last = self.lines.last().map_or("", String::as_str);
        last.chars().take(200).collect()
    }

    /// Whether an EHLO reply offers an extension. The first line is the server's name.
    pub(super) fn offers(&self, keyword: &str) -> bool {
        self.lines.iter().skip(1).any(|line| {
            line.split_ascii_whitespace()
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(keyword))
        })
    }
}

/// Collects bytes into replies. Holds at most one line and [`MAX_LINES`] of text.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    lines: Vec<String>,
}

impl Reader {
    /// Takes bytes in, up to the end of a reply. Gives how many were taken, and the reply if it is
    /// complete. After an error the rest of the stream has no meaning.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, Option<Reply>), String> {
        for (n, &byte) in bytes.iter().enumerate() {
            if byte != b'\n' {
                if self.line.len() == MAX_LINE_BYTES {
                    return Err(format!("a line is longer than {MAX_LINE_BYTES} bytes"));
                }
                self.line.push(byte);
                continue;
            }
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let (code, last) = self.add(&line)?;
            if last {
                let lines = std::mem::take(&mut self.lines);
                return Ok((n + 1, Some(Reply { code, lines })));
            }
        }
        Ok((bytes.len(), None))
    }

    fn add(&mut self, line: &[u8]) -> Result<(u16, bool), String> {
        let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
            let start: String = printable(line).chars().take(40).collect();
            return Err(format!("no reply code in {start:?}"));
        };
        let digit = |byte: &u8| u16::from(byte - b'0');
        let code = digit(a) * 100 + digit(b) * 10 + digit(c);
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(format!("neither space nor - after the code {code}")),
        };
        if self.lines.len() == MAX_LINES {
            return Err(format!("a reply has more than {MAX_LINES} lines"));
        }
        self.lines.push(printable(text));
        Ok((code, last))
    }
}

fn printable(bytes: &[u8]) -> String {
    stripped(&String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_turns_or_breaks_a_line_on_a_screen_is_stripped() {
        let banner = "220 mx\u{202e}1\u{2066}\u{2028}\u{85}\u{200f}\u{feff}.example\r\n";
        let reply = read(banner.as_bytes()).unwrap().unwrap();
        assert_eq!(reply.lines, ["mx1.example"]);
    }

    type CodeAndLines = Option<(u16, usize)>;

    fn read(bytes: &[u8]) -> Result<Option<Reply>, String> {
        Reader::default().take(bytes).map(|(_, reply)| reply)
    }

    #[test]
    fn replies_are_read_line_by_line() {
        let table: [(&[u8], CodeAndLines); 8] = [
            (b"220 mx ESMTP\r\n", Some((220, 1))),
            (b"220 mx ESMTP\n", Some((220, 1))),
            (b"250\r\n", Some((250, 1))),
            (b"220-mx\r\n220 mx ESMTP\r\n", Some((220, 2))),
            (
                b"250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
                Some((250, 3)),
            ),
            (b"220-teaser\r\n521 go away\r\n", Some((521, 2))),
            (b"220-mx\r\n", None),
            (b"220 mx", None),
        ];
        for (bytes, expected) in table {
            let reply = read(bytes).unwrap();
            let got = reply.map(|reply| (reply.code, reply.lines.len()));
            assert_eq!(got, expected, "{}", printable(bytes));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let table: [&[u8]; 7] = [
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
            b"99 x\r\n",
            b"120 x\r\n",
            b"220x\r\n",
            b"\xff\xfe\n",
        ];
        for bytes in table {
            assert!(read(bytes).is_err(), "{}", printable(bytes));
        }
    }

    #[test]
    fn endless_lines_and_endless_replies_end() {
        let mut line = vec![b'2'; MAX_LINE_BYTES];
        assert_eq!(read(&line), Ok(None));
        line.push(b'2');
        assert!(read(&line).unwrap_err().contains("longer than"));
        let lines = b"220-x\r\n".repeat(MAX_LINES + 1);
        assert!(read(&lines).unwrap_err().contains("more than"));
    }

    #[test]
    fn an_extension_is_a_whole_word_after_the_first_line() {
        let reply = read(b"250-STARTTLS.example\r\n250-starttls\r\n250 SIZE 10\r\n");
        let reply = reply.unwrap().unwrap();
        assert!(reply.offers("STARTTLS") && reply.offers("SIZE") && !reply.offers("10"));
        let reply = read(b"250-STARTTLS\r\n250 STARTTLSX\r\n").unwrap().unwrap();
        assert!(!reply.offers("STARTTLS"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn it_does_not_matter_how_bytes_are_cut(
            text in "(2[0-9]{2}[- ][a-z]{0,5}\r?\n|[0-9 -]{0,3}|\r?\n){0,8}",
            cut in 0_usize..40,
        ) {
            let bytes = text.as_bytes();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut reader = Reader::default();
            let in_two = match reader.take(head) {
                Ok((_, None)) => reader.take(tail).map(|(_, reply)| reply),
                done => done.map(|(_, reply)| reply),
            };
            prop_assert_eq!(in_two, read(bytes));
        }
    }
}
