// Reads server-sent events from the body of a response. Only `data` is read: the API sends nothing else here.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

/**
 * Yields the data of each event, in order. An incomplete event at the end of the body is ignored.
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
    // A caller that stops reading releases the connection.
    reader.cancel().catch(() => {});
  }
}

/** Splits pieces of text into whole lines, which end with LF or CR LF. A lone CR is allowed too, but nobody sends it. */
class LineSplitter {
  rest = "";

  push(piece) {
    this.rest += piece;
    const lines = this.rest.split(/\r?\n/);
    this.rest = lines.pop();
    return lines;
  }
}
