package schema

// nearest is the name that word was probably meant to be, with at most a third
// of its letters wrong; "" when there is none.
func nearest(word string, names []string) string {
	best, limit := "", (len(word)+1)/3
	for _, name := range names {
		if d := distance(word, name); d <= limit {
			best, limit = name, d-1
		}
	}
	return best
}

// distance is how many letters have to be put in, taken out or replaced to make
// b of a (Levenshtein). Words much longer than any name count as far away.
func distance(a, b string) int {
	if len(a) > 2*len(b) {
		return len(a)
	}
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
		}
		last = row
	}
	return last[len(b)]
}
