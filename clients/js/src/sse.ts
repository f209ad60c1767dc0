/** Decodes server-sent events (HTML standard, section 9.2) from text in pieces of any size. */

export interface Frame {
  name: string;
  data: string;
  id: string | null;
}

export class FrameDecoder {
  #rest = "";
  #name = "";
  #data: string[] = [];
  #id: string | null = null;

  /** The events that `text` completes. */
  *feed(text: string): Generator<Frame> {
    // A CR at the end waits for the next piece, which shows whether an LF follows.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?=[^\n])/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== "") {
        this.#take(line);
        continue;
      }
      if (this.#data.length > 0) yield { name: this.#name || "message", data: this.#data.join("\n"), id: this.#id };
      this.#name = "";
      this.#data = [];
    }
  }

  #take(line: string): void {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#name = value;
    else if (field === "id") this.#id = value;
  }
}
