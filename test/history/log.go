package history

// Effect is one change of a row that the log holds.
type Effect struct {
	Index   uint64 `json:"index"`
	N       uint64 `json:"n"`       // which change of that entry
	Request string `json:"request"` // the request id of who asked for it
	Table   string `json:"table"`
	Key     string `json:"key"`
	Verb    string `json:"verb"` // create, update, delete
}

// Log is what a committed log did, applied from its beginning.
type Log struct {
	Effects   []Effect // in order
	byRequest map[string][]Effect
}

// NewLog sorts effects, which are in the order of the log.
func NewLog(effects []Effect) *Log {
	l := &Log{Effects: effects, byRequest: map[string][]Effect{}}
	for _, e := range effects {
		if e.Request != "" {
			l.byRequest[e.Request] = append(l.byRequest[e.Request], e)
		}
	}
	return l
}

// at is the index at which a request took effect; 0 if it never did.
func (l *Log) at(request string) uint64 {
	if all := l.byRequest[request]; len(all) > 0 {
		return all[0].Index
	}
	return 0
}

// twice tells whether a request took effect at two places of the log.
func (l *Log) twice(request string) bool {
	all := l.byRequest[request]
	touched := map[[2]string]bool{}
	for _, e := range all {
		row := [2]string{e.Table, e.Key}
		if e.Index != all[0].Index || touched[row] {
			return true
		}
		touched[row] = true
	}
	return false
}

// key is the key of the row of a table that a request created; empty: none.
func (l *Log) key(request, table string) string {
	for _, e := range l.byRequest[request] {
		if e.Table == table && e.Verb == "create" {
			return e.Key
		}
	}
	return ""
}
