//! Any message before a session is up. The input is an OPEN without its header; the same octets
//! are also tried as a stream and as the other messages that fit on their own.
#![no_main]

use codec::{MAX_LEN, Message, encode_notification, encode_open, frame, parse_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = frame(body, MAX_LEN);
    for message_type in [1, 3, 4, 5] {
        let mut message = vec![0xff; 16];
        let length = u16::try_from(body.len() + 19).unwrap_or(u16::MAX);
        message.extend_from_slice(&length.to_be_bytes());
        message.push(message_type);
        message.extend_from_slice(body);
        judge(&message);
    }
});

fn judge(message: &[u8]) {
    let mut out = Vec::new();
    match parse_message(message) {
        Ok(Message::Open(open)) => {
            encode_open(&open, &mut out);
            assert!(out.len() <= MAX_LEN);
            // Repeated capabilities that fill the message in several short parameters may not fit
            // in one, so only a message with room to spare must read back whole.
            if out.len() < MAX_LEN - 300 {
                assert_eq!(parse_message(&out), Ok(Message::Open(open)));
            }
        }
        Ok(Message::Notification(notification)) => {
            let words = notification.to_string();
            assert!(words.chars().all(|c| !c.is_control()), "{words:?}");
        }
        Ok(_) => {}
        Err(notification) => {
            encode_notification(&notification, &mut out);
            assert!(parse_message(&out).is_ok());
            let _ = notification.to_string();
        }
    }
}
