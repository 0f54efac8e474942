"""A browser at the sign-in of a test: opens an address, fills the provider's forms in, and stops at the last page.

    browser.py NAME URL

`tollgate login` starts it by way of BROWSER, as it starts a person's.
"""

import html
import http.cookiejar
import re
import sys
import urllib.parse
import urllib.request

PAGES_MAX = 10
name, url = sys.argv[1:]
cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))
fields = None
for _ in range(PAGES_MAX):
    with opener.open(url, fields, timeout=30) as answer:
        page, url = answer.read().decode(), answer.url
    prompt = re.search(r'name="prompt" value="([^"]*)"', page)
    action = re.search(r'action="([^"]*)"', page)
    if not (prompt and action):
        break
    url = urllib.parse.urljoin(url, html.unescape(action[1]))
    fields = urllib.parse.urlencode({"prompt": prompt[1], "login": name, "password": "anything"}).encode()
