//! Boards with a real guest: whoever comes to their ports is answered.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{board::address, guest::PORT};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks each of the first so many boards. A board is said to run when its guest is well: then it answers.
pub(crate) async fn check_answers(boards: usize) -> anyhow::Result<()> {
    for board in 0..boards {
        let answer = timeout(PATIENCE, ask(board)).await;
        let answer = answer.with_context(|| format!("board {board} does not answer within {PATIENCE:?}"))?;
        let answer = answer.with_context(|| format!("board {board} does not answer"))?;
        ensure!(answer.ends_with("Hello, WASM!"), "board {board} answers {answer:?}");
    }
    Ok(())
}

async fn ask(board: usize) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((address(board), PORT)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: board\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
