// Server-sent events out of the body of a response. Only `data` is read: the API sends nothing else.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

/**
 * Yields the data of each event, in order. An event that breaks off at the end of the body is not one.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const lines = new LineSplitter();
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const line of lines.push(value)) {
        if (line.startsWith("data:")) {
          data.push(line.slice(5).replace(/^ /, ""));
        } else if (line === "" && data.length > 0) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } finally {
    // Whoever stops listening lets go of the connection.
    reader.cancel().catch(() => {});
  }
}

/** Whole lines out of pieces of text. A line ends with LF or CR LF; the CR alone that is allowed too, nobody sends. */
class LineSplitter {
  rest = "";

  push(piece) {
    this.rest += piece;
    const lines = this.rest.split(/\r?\n/);
    this.rest = lines.pop();
    return lines;
  }
}
