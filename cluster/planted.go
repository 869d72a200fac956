package cluster

import "time"

// foretold are the verdicts on commands that no majority has: what the machine would
// answer now, as far as it can tell. For the planted bug AckBeforeCommit; nothing
// calls it in a program that is built without the tag.
func (n *Node) foretold(at time.Time, commands [][]byte) []verdict {
	verdicts := all(len(commands), verdict{index: n.raft.LastIndex()})
	m, can := n.replica.machine.(interface {
		Foretell(at time.Time, commands [][]byte) []any
	})
	if !can {
		return verdicts
	}
	for i, answer := range m.Foretell(at, commands) {
		verdicts[i].answer = answer
	}
	return verdicts
}
