import classes from "./Tags.module.css";

export function Tags({ tags }: { tags: readonly string[] }) {
  return tags.map((tag) => (
    <span key={tag} className={classes.tag}>
      {tag}
    </span>
  ));
}
