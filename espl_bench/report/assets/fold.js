// What a model wrote, cut into parts that are read differently: what it says, what it thinks, and what it calls. Text stays text.

const PARTS = /<(think|thinking|search|tool_call|tool_response|tool|function_call|information|result)\b[^<>]{0,200}>([\s\S]*?)<\/\1>/g;
const THOUGHTS = new Set(["think", "thinking"]);

// Parts { kind: "say" | "think" | "call", name, start, end } that cover the text without a gap.
export function parts(text) {
  const found = [];
  let at = 0;
  const close = text.search(/<\/think(?:ing)?>/);
  const open = text.search(/<think(?:ing)?\b/);
  if (close >= 0 && (open < 0 || open > close)) {  // the chat template had opened the block
    at = close + text.slice(close).indexOf(">") + 1;
    found.push({ kind: "think", name: "thinking", start: 0, end: at });
  }
  PARTS.lastIndex = at;
  for (let match = PARTS.exec(text); match; match = PARTS.exec(text)) {
    if (match.index > at) found.push({ kind: "say", name: "", start: at, end: match.index });
    found.push({ kind: THOUGHTS.has(match[1]) ? "think" : "call", name: THOUGHTS.has(match[1]) ? "thinking" : match[1].replace("_", " "), start: match.index, end: PARTS.lastIndex });
    at = PARTS.lastIndex;
  }
  const lone = text.slice(at).search(/<think(?:ing)?>/);
  if (lone >= 0) {  // cut off while it was thinking
    if (lone > 0) found.push({ kind: "say", name: "", start: at, end: at + lone });
    found.push({ kind: "think", name: "thinking, cut off", start: at + lone, end: text.length });
    at = text.length;
  }
  if (at < text.length || found.length === 0) found.push({ kind: "say", name: "", start: at, end: text.length });
  return found;
}
