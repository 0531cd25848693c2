import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Line {
  readonly label: string;
  /** Name of the colour in the style sheet. */
  readonly color: string;
}

const HEIGHT = 150;

function timeOf(seconds: number): string {
  return new Date(seconds * 1_000).toLocaleTimeString(undefined, { hour12: false });
}

/** Lines over time. The colours are the page's, and change with its theme. */
export function Chart(props: {
  title: string;
  lines: readonly Line[];
  /** Times in seconds, then each line's values. */
  data: readonly (readonly number[])[];
  theme: string;
}) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const { title, lines, data, theme } = props;
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false } };
    const made = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height: HEIGHT,
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [
          { ...axis, space: 90, values: (_u, seconds) => seconds.map(timeOf) },
          { ...axis, size: 44 },
        ],
        series: [
          { value: (_u: uPlot, seconds: number | null) => (seconds === null ? "–" : timeOf(seconds)) },
          ...lines.map((line) => ({
            label: line.label,
            stroke: color(line.color),
            width: 2,
            points: { show: false },
            value: (_u: uPlot, value: number | null) => (value === null ? "–" : value.toFixed(1)),
          })),
        ],
      },
      latest.current as unknown as uPlot.AlignedData,
      element,
    );
    plot.current = made;
    const resize = new ResizeObserver(() =>
      made.setSize({ width: Math.max(200, element.clientWidth), height: HEIGHT }),
    );
    resize.observe(element);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [theme, lines]);

  useEffect(() => {
    plot.current?.setData(data as unknown as uPlot.AlignedData);
  }, [data]);

  return (
    <figure>
      <figcaption>{title}</figcaption>
      <div ref={host} role="img" aria-label={title} />
    </figure>
  );
}
