//! Counterparts of the authors' trigger phrases in other languages that models think in.
//!
//! A phrase is listed only if it seldom means anything else at the beginning of a paragraph and is not a word of
//! another of these languages. In scripts without spaces it must not be part of common words: "是的，" does not occur in
//! "如果是的话". Han phrases are listed in both simplified and traditional characters where they differ.

/// The authors' phrases, each with its counterparts in Chinese, Japanese, Korean, Russian, Spanish, French and German.
static COUNTERPARTS: [(&str, &[&str]); 12] = [
    (
        "verify",
        &[
            "验证",
            "驗證",
            "核实",
            "核實",
            "検証",
            "검증",
            "убедимся",
            "verifiquemos",
            "vérifions",
            "überprüfen",
        ],
    ),
    (
        "think again",
        &[
            "再想",
            "重新考虑",
            "重新考慮",
            "重新思考",
            "もう一度考え",
            "考え直",
            "다시 생각",
            "подумаем ещё",
            "pensemos de nuevo",
            "réfléchissons",
            "noch einmal nachdenken",
        ],
    ),
    (
        "recap",
        &[
            "回顾一下",
            "回顧一下",
            "总结一下",
            "總結一下",
            "まとめると",
            "정리하면",
            "подытожим",
            "recapitulemos",
            "récapitulons",
            "fassen wir zusammen",
        ],
    ),
    (
        "check",
        &[
            "检查",
            "檢查",
            "检验",
            "核对",
            "核對",
            "確認",
            "确认",
            "検算",
            "확인",
            "проверим",
            "проверю",
            "comprobemos",
            "vérifier",
            "prüfen",
        ],
    ),
    (
        "wait",
        &[
            "等等",
            "等一下",
            "等下",
            "稍等",
            "待って",
            "ちょっと待",
            "잠깐",
            "잠시만",
            "подожди",
            "погоди",
            "un momento",
            "attends",
            "attendez",
            "moment mal",
            "warte",
        ],
    ),
    (
        "alternatively",
        &[
            "换个",
            "換個",
            "换一种",
            "換一種",
            "或者，",
            "あるいは",
            "아니면",
            "как вариант",
            "alternativamente",
            "autrement,",
        ],
    ),
    ("hold on", &["慢着", "且慢", "等会儿", "стоп", "un instant", "halt,"]),
    ("another", &["另一", "另外一", "別の", "다른 방법", "по-другому", "otra manera", "une autre"]),
    ("yeah", &["嗯，对", "嗯，對", "对对", "うん、", "그래,", "ага"]),
    (
        "yes",
        &[
            "是的，",
            "是的。",
            "是的！",
            "没错",
            "沒錯",
            "はい、",
            "その通り",
            "맞아",
            "да,",
            "sí",
            "oui",
            "ja,",
        ],
    ),
    (
        "final answer",
        &[
            "最终答案",
            "最終答案",
            "最后答案",
            "最終的な答え",
            "최종 답",
            "окончательный ответ",
            "respuesta final",
            "réponse finale",
            "endgültige antwort",
        ],
    ),
    ("confident", &["确信", "確信", "有把握", "확신", "уверен", "bin sicher"]),
];

/// Returns the counterparts of a phrase; none if it is not one of the authors'.
pub(super) fn counterparts(phrase: &str) -> &'static [&'static str] {
    let phrase = phrase.to_lowercase();
    let found = COUNTERPARTS.iter().find(|(authors, _)| *authors == phrase);
    found.map_or(&[][..], |(_, counterparts)| counterparts)
}
