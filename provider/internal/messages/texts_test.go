package messages_test

import (
	"regexp"
	"strings"
	"testing"
)

// An app's SDK sorts some answers by words in their error_description, in whatever
// language it is. A text that had a word by accident would send people to the wrong
// form.
var (
	aboutCode     = []string{"verification", "验证码", "does not match", "token expired", "token error", "过期"}
	aboutNobody   = []string{"not found", "不存在", "未注册"}
	aboutPassword = []string{"password", "credentials"}
	aboutMethods  = []string{"not enabled", "login method", "identity provider"}
)

// anyOf returns the first of the words that is in s, or "".
func anyOf(s string, words ...[]string) string {
	for _, list := range words {
		for _, word := range list {
			if strings.Contains(strings.ToLower(s), word) {
				return word
			}
		}
	}
	return ""
}

func TestTextsThatAppsSort(t *testing.T) {
	c := catalogue(t)
	must := map[string][]string{
		"api.verification": aboutCode, "api.verification_token": aboutCode, "api.user_not_found": aboutNobody,
	}
	mustNot := map[string][][]string{
		// Nothing tells these from the others but their words.
		"api.email_taken": {aboutNobody, aboutPassword}, "api.username_taken": {aboutNobody, aboutPassword},
		"api.user_exists": {aboutNobody, aboutPassword}, "api.own_address": {aboutNobody, aboutPassword},
	}
	for _, id := range []string{
		"api.password_rule", "api.password_rule_any", "api.username_rule", "api.email_rule", "api.email_only",
		"api.email_unproven", "api.text_rule", "api.target", "api.redirect", "api.json", "api.too_large", "api.missing", "api.grant_type",
	} {
		mustNot[id] = [][]string{aboutCode, aboutPassword, aboutMethods}
	}
	for _, lang := range c.Languages() {
		for id, words := range must {
			if text := c.Text(lang, id, nil); anyOf(text, words) == "" {
				t.Errorf("%s: %s has none of %q: %s", lang, id, words, text)
			}
		}
		for id, words := range mustNot {
			if text := c.Text(lang, id, nil); anyOf(text, words...) != "" {
				t.Errorf("%s: %s has %q: %s", lang, id, anyOf(text, words...), text)
			}
		}
	}
	// These words are the rule in Chinese.
	for _, id := range []string{"api.verification", "api.verification_token"} {
		if text := c.Text("zh", id, nil); !strings.Contains(text, "验证码") {
			t.Errorf("zh: %s has no 验证码: %s", id, text)
		}
	}
}

func TestMatchLanguagesWeHave(t *testing.T) {
	c := catalogue(t)
	for preference, want := range map[string]string{
		"zh": "zh", "zh-CN": "zh", "zh-Hans": "zh", "zh-Hans-CN": "zh", "zh-SG": "zh", "ZH-cn": "zh",
		"zh-CN,zh;q=0.9,en;q=0.8": "zh", "fr-CA zh-CN en": "zh", "ja,zh-CN;q=0.5": "zh",
		"en": "en", "en-US,en;q=0.9,zh-CN;q=0.8": "en", "ja": "en", "de, fr;q=0.5": "en", "": "en", "*": "en",
	} {
		if got := c.Match(preference); got != want {
			t.Errorf("Match(%q) = %q; want %q", preference, got, want)
		}
	}
}

// TestTextsAreTranslated: a text that was copied from English to be translated
// later is one that nobody translated.
func TestTextsAreTranslated(t *testing.T) {
	c := catalogue(t)
	same := map[string]bool{} // "language id" of the words that two languages share
	for _, lang := range c.Languages()[1:] {
		for _, id := range c.IDs() {
			if text := c.Text(lang, id, nil); text == c.Text("en", id, nil) && !same[lang+" "+id] {
				t.Errorf("%s: %s is as in English: %s", lang, id, text)
			}
		}
	}
}

// TestChineseTypography: full-width marks without spaces around them, “” for
// quotes, which messages.Name takes out of names, and a space between Chinese and
// Latin letters, digits and placeholders.
func TestChineseTypography(t *testing.T) {
	c := catalogue(t)
	for what, fault := range map[string]*regexp.Regexp{
		"a half-width mark":        regexp.MustCompile(`\p{Han}[,.;:!?()'"]|[,;!?()'"]\p{Han}`),
		"a space at a mark":        regexp.MustCompile(`\s[，。；：！？、（）“”]|[，。；：！？、（）“”]\s`),
		"a space in Chinese":       regexp.MustCompile(`\p{Han}\s+\p{Han}`),
		"no space at Latin script": regexp.MustCompile(`\p{Han}[A-Za-z0-9{_]|[A-Za-z0-9}_]\p{Han}`),
		"other quotes":             regexp.MustCompile(`[「」『』"'‘’«»]`),
		"a quote without its pair": regexp.MustCompile(`“[^”]*(?:“|$)|^[^“]*”`),
		"a traditional form":       regexp.MustCompile(`[請輸賬帳號碼郵錄驗證應該與無時發這個們還]`),
		"帐号 for 账号, 登陆 for 登录":     regexp.MustCompile(`帐|登陆|登出|注销`),
	} {
		for _, id := range c.IDs() {
			text := c.Text("zh", id, nil)
			if found := fault.FindString(text); found != "" {
				t.Errorf("zh: %s has %s at %q: %s", id, what, found, text)
			}
		}
	}
}
