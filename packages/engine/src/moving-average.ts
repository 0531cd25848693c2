/** A moving average that is quick to see trouble and slow to believe it is over. */
export class MovingAverage {
  value = 0;
  add(sample: number): void {
    this.value += (sample - this.value) / (sample > this.value ? 5 : 50);
  }
}
