package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var sqlBlock = regexp.MustCompile("(?s)\n```sql\n(.*?)```")

// TestQuestionsOfTheDocs runs every query of the page, so that none speaks of
// columns that are not there; most find something in a small history.
func TestQuestionsOfTheDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "how-to", "sql.md"))
	if err != nil {
		t.Fatal(err)
	}
	w := aHistory(t)
	questions := sqlBlock.FindAllStringSubmatch(string(page), -1)
	if len(questions) != 10 {
		t.Errorf("the page promises ten questions and has %d", len(questions))
	}
	found := 0
	for _, q := range questions {
		if rows := w.sql(strings.TrimSpace(q[1])); len(rows) > 0 {
			found++
		}
	}
	if found < 8 {
		t.Errorf("only %d questions have an answer in a history that was made for them", found)
	}
	for _, v := range readyViews {
		if !strings.Contains(string(page), "`"+v.name+"`") {
			t.Errorf("the page does not name the view %s", v.name)
		}
	}
}
