/** Markdown from people, as the few elements that text needs. HTML in it is shown as text, an image as its name. */
import DOMPurify from "dompurify";
import { Marked } from "marked";
import { useMemo } from "react";
import classes from "./Markdown.module.css";

const ALLOWED_TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong",
  "table", "tbody", "td", "th", "thead", "tr", "ul",
];
const ALLOWED_URI_REGEXP = /^(?:https?:|mailto:|\/(?!\/)|#)/i;

const escaped = (text: string) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const marked = new Marked({
  async: false,
  breaks: true,
  renderer: { html: ({ text }) => escaped(text), image: ({ text }) => escaped(text) },
});

export default function Markdown({ text }: { text: string }) {
  const html = useMemo(() => harmless(text), [text]);
  return <div className={classes.text} data-testid="markdown" dangerouslySetInnerHTML={{ __html: html }} />;
}

function harmless(text: string): string {
  const clean = DOMPurify.sanitize(marked.parse(text) as string, { ALLOWED_TAGS, ALLOWED_ATTR: ["href"], ALLOWED_URI_REGEXP, RETURN_DOM_FRAGMENT: true });
  for (const link of clean.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const head of clean.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const lower = document.createElement(`h${Math.min(6, Number(head.tagName[1]) + 2)}`); // the page has its own h1 and h2
    lower.append(...head.childNodes);
    head.replaceWith(lower);
  }
  const holder = document.createElement("div");
  holder.append(clean);
  return holder.innerHTML;
}
