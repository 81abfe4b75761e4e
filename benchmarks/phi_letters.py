"""Names of benchmarks/phi_notes.py in Latin letters, about as a passport writes them: by letter, with no diacritics.

Bulgarian as its law of 2009, Ukrainian as resolution 55 of its cabinet of 2010, Macedonian and Georgian as on their passports, Armenian as BGN/PCGN
without marks, Korean by syllable (Revised Romanization) with the usual surnames, Nepali and Sinhala by letter with the inherent vowel; others by a
table of names.
"""

import unicodedata


def _pairs(letters: str, latin: str) -> dict[str, str]:
    return dict(zip(letters.split(), latin.split(), strict=True))


ALPHABETS = {
    "uk_UA": _pairs(
        "а б в г ґ д е є ж з и і ї й к л м н о п р с т у ф х ц ч ш щ ю я",
        "a b v h g d e ie zh z y i i i k l m n o p r s t u f kh ts ch sh shch iu ia",
    ),
    "mk_MK": _pairs(
        "а б в г д ѓ е ж з ѕ и ј к л љ м н њ о п р с т ќ у ф х ц ч џ ш",
        "a b v g d gj e zh z dz i j k l lj m n nj o p r s t kj u f h c ch dj sh",
    ),
    "bg_BG": _pairs(
        "а б в г д е ж з и й к л м н о п р с т у ф х ц ч ш щ ъ ю я",
        "a b v g d e zh z i y k l m n o p r s t u f h ts ch sh sht a yu ya",
    ),
    "ka_GE": _pairs(
        "ა ბ გ დ ე ვ ზ თ ი კ ლ მ ნ ო პ ჟ რ ს ტ უ ფ ქ ღ ყ შ ჩ ც ძ წ ჭ ხ ჯ ჰ",
        "a b g d e v z t i k l m n o p zh r s t u p k gh q sh ch ts dz ts ch kh j h",
    ),
    "hy_AM": _pairs(
        "ա բ գ դ ե զ է ը թ ժ ի լ խ ծ կ հ ձ ղ ճ մ յ ն շ ո չ պ ջ ռ ս վ տ ր ց ւ փ ք օ ֆ և ու",
        "a b g d e z e y t zh i l kh ts k h dz gh ch m y n sh o ch p j r s v t r ts v p k o f ev u",
    ),
}
INITIAL = {"uk_UA": _pairs("є ї й ю я", "ye yi y yu ya"), "hy_AM": _pairs("ե ո", "ye vo")}
SURNAMES = _pairs(
    "김 이 박 정 최 조 강 윤 장 임 오 신 권 안 류 고 문 허 유 심 노 구 우 곽",
    "Kim Lee Park Jung Choi Cho Kang Yoon Jang Lim Oh Shin Kwon Ahn Ryu Ko Moon Huh Yoo Shim Noh Koo Woo Kwak",
)
# Each consonant carries an "a" that a sign of another vowel or the virama takes away.
CONSONANTS = {
    "ne_NP": _pairs(
        "क ख ग घ ङ च छ ज झ ञ ट ठ ड ढ ण त थ द ध न प फ ब भ म य र ल व श ष स ह",
        "k kh g gh ng ch chh j jh n t th d dh n t th d dh n p ph b bh m y r l b sh sh s h",
    ),
    "si_LK": _pairs(
        "ක ඛ ග ඝ ඟ ච ඡ ජ ඤ ඥ ට ඨ ඩ ඪ ණ ඬ ත ථ ද ධ ඳ න ප ඵ බ භ ම ඹ ය ර ල ව ශ ෂ ස හ ළ ෆ",
        "k kh g gh ng ch chh j n gn t th d dh n nd th th d dh nd n p ph b bh m mb y r l w sh sh s h l f",
    ),
}
VOWELS = {
    "ne_NP": _pairs("अ आ इ ई उ ऊ ऋ ए ऐ ओ औ", "a a i i u u ri e ai o au"),
    "si_LK": _pairs("අ ආ ඇ ඈ ඉ ඊ උ ඌ ඍ එ ඒ ඓ ඔ ඕ ඖ", "a a a a i i u u ri e e ai o o au"),
}
SIGNS = {
    "ne_NP": _pairs("ा ि ी ु ू ृ े ै ो ौ", "a i i u u ri e ai o au"),
    "si_LK": _pairs("ා ැ ෑ ි ී ු ූ ෘ ෙ ේ ෛ ො ෝ ෞ", "a a a i i u u ru e e ai o o au"),
}
VIRAMAS, NASALS = "्්", "ंँං"
_ARABIC = _pairs(
    "أحلام أروى أسيل بتول بشرى بلقيس تالا جميلة جنى حياة دعاء ريم ريما ريان سجى شهد عالية غيداء كوثر لارا لانا لينا مايا مريم ميسون نغم نوال هاجر هدى "
    "هناء هند هيا وفاء يارا ياسمين يسرى "
    "أحمد تامر توفيق جعفر جلال جمال جميل جهاد حاتم حازم حامد حسام حسن حسين حمزة خالد خليل رائد راشد رامز رامي ربيع زكريا زهير زياد زيد سالم سامر سامي "
    "سعيد سفيان سلمان سليم سمير شادي شاكر صابر صالح طارق طلال عادل عامر عدنان عصام عماد عمر غازي غالب فادي فارس فاروق فيصل قاسم كامل كريم كمال ليث ماجد "
    "مازن محمود مراد",
    "Ahlam Arwa Aseel Batoul Bushra Balqis Tala Jamila Jana Hayat Duaa Reem Rima Rayan Saja Shahd Aliya Ghaida Kawthar Lara Lana Lina Maya Maryam "
    "Maysoon Nagham Nawal Hajar Huda Hanaa Hind Haya Wafaa Yara Yasmin Yusra "
    "Ahmad Tamer Tawfiq Jafar Jalal Jamal Jamil Jihad Hatem Hazem Hamed Hussam Hasan Hussein Hamza Khaled Khalil Raed Rashid Ramez Rami Rabih Zakaria "
    "Zuhair Ziad Zaid Salem Samer Sami Saeed Sufian Salman Salim Samir Shadi Shaker Saber Saleh Tariq Talal Adel Amer Adnan Issam Imad Omar Ghazi Ghaleb "
    "Fadi Faris Farouk Faisal Qasim Kamel Karim Kamal Laith Majed Mazen Mahmoud Murad",
)
# Letters that leave vowels out cannot be spelt by letter: these names are as those who bear them write them in America.
KNOWN = {
    "ar_PS": _ARABIC
    | _pairs(
        "الأدغم الإغباري البرغوثي التركمان التميمي الجنيدي الحسيني الحنبلي الخازن الخماش الخياط الزيتاوي السكاكيني الصالحي النشاشيبي بدر ترابين جرار جزار "
        "حمامي خوري دغمش شاهين صليبا طوقان كسواني مهيار نسيبة هاشم",
        "Al-Adgham Ighbaria Barghouti Turkman Tamimi Junaidi Husseini Hanbali El-Khazen Khammash Khayat Zeitawi Sakakini Salhi Nashashibi Badr Tarabin "
        "Jarrar Jazzar Hamami Khoury Daghmash Shaheen Saliba Touqan Kiswani Mahyar Nusseibeh Hashem",
    ),
    "ar_SA": _ARABIC
    | _pairs(
        "الجابر الجفالي الحجار الحكير الخرافي الدباغ الراشد الشايع العجلان العقيل العليان المهنا المهيدب بقشان حجار حنبولي شربتلي فصيل كانو مهنا",
        "Al-Jaber Juffali Al-Hajjar Al-Hokair Al-Kharafi Dabbagh Al-Rashed Alshaya Ajlan Al-Aqeel Olayan Al-Muhanna Almuhaidib Bugshan Hajjar Hanbouli "
        "Sharbatly Fusail Kanoo Muhanna",
    ),
    "fa_IR": _pairs(
        "فاطمه زهرا عسل زینب سارا یسنا ریحانه آیناز هستی باران ثنا هلیا مریم یلدا نازنین مهسا آیلین نرگس حنانه هانیه مهدیس رها آوا یگانه پریا معصومه آیدا "
        "الناز یاسمین بهار "
        "پرهام متین عرفان محمد دانیال علی آرمین آرتین حسین سبحان مهدی سینا آریا محمدرضا سجاد امیررضا آرش نیما علیرضا عرشیا یوسف رضا احسان آرین ماهان عباس "
        "پارسا حسام "
        "محمدی مجتهدی حمیدی کابلی احمدی اشرفی الوندی بهمنی بهرامی هنری ایروانی جلالی جلیلی روحانی منصوری مهدیان نوروزی نوری شاکری سلطانی زمانی زارع ربانی "
        "رستمی رسولی کریمی کرمانی سعیدی عباسی پویان تهرانی جنتی جهانی پارسا حسنی هاشمی معین هدایت قاضی یزدی موسوی همدانی کمالی نعمتی عزیزی",
        "Fatemeh Zahra Asal Zeinab Sara Yasna Reyhaneh Aynaz Hasti Baran Sana Helia Maryam Yalda Nazanin Mahsa Aylin Narges Hannaneh Hanieh Mahdis Raha "
        "Ava Yeganeh Paria Masoumeh Aida Elnaz Yasmin Bahar "
        "Parham Matin Erfan Mohammad Danial Ali Armin Artin Hossein Sobhan Mehdi Sina Aria Mohammadreza Sajjad Amirreza Arash Nima Alireza Arshia Yousef "
        "Reza Ehsan Arian Mahan Abbas Parsa Hessam "
        "Mohammadi Mojtahedi Hamidi Kaboli Ahmadi Ashrafi Alvandi Bahmani Bahrami Honari Irvani Jalali Jalili Rouhani Mansouri Mahdian Norouzi Nouri "
        "Shakeri Soltani Zamani Zare Rabbani Rostami Rasouli Karimi Kermani Saeedi Abbasi Pouyan Tehrani Jannati Jahani Parsa Hassani Hashemi Moin Hedayat "
        "Ghazi Yazdi Mousavi Hamedani Kamali Nemati Azizi",
    ),
    "he_IL": _pairs(
        "אביגיל אביטל אסתר אפרת גילה דבורה דינה דנה דפנה הדסה הילה זהבה חנה טליה יהודית יעל יפה לאה מיכל מלכה מרים נועה נחמה נעמי עדינה ענבל פנינה "
        "צפורה רבקה רות רחל רינה שושנה שירה שרה תמר "
        "אבישי אברהם אהרון אוהד אילן איתמר איתן אלון אלעד אמיר אסף אפרים ארי אריה בועז בנימין ברוך גיא גיל דוד זאב חיים יהודה יהונתן יהושע יואב "
        "יונתן יוסף יעקב יצחק ישראל לוי מאיר מנחם מרדכי משה נדב נתן עומר עופר צבי שאול שלמה שמואל שמעון תומר "
        "אברמוביץ אדלר אוחנה אזולאי אלון אפשטיין אשכנזי ביטון בלום ברגר ברמן ברנשטיין ברקוביץ גבאי גולדברג גולדמן גולדשטיין גולן גוטליב גליק גרוס גרוסמן דהן דיין "
        "דרעי הופמן הורוביץ הירש הלוי הרשקוביץ וולף וייס וינברג ויצמן זילברמן זינגר חדד חזן טולדנו יצחקי כהן כהנא כץ לוי לוין ליבוביץ ליברמן ליפשיץ לנדאו "
        "לרנר מזרחי מימון מלמד מנדל נחמיאס סגל סלומון פוגל פולק פוקס פינקלשטיין פישמן פלדמן פרידמן פרנקל פרץ קאופמן קליין קפלן רבינוביץ רובין רוזן רוזנברג "
        "רוזנטל רוטמן שוורץ שולמן שטיין שטרן שכטר שניידר שפירא ששון",
        "Avigail Avital Esther Efrat Gila Devorah Dina Dana Dafna Hadassah Hila Zehava Chana Talia Yehudit Yael Yaffa Leah Michal Malka Miriam "
        "Noa Nechama Naomi Adina Inbal Penina Tzipora Rivka Ruth Rachel Rina Shoshana Shira Sarah Tamar "
        "Avishai Avraham Aharon Ohad Ilan Itamar Eitan Alon Elad Amir Asaf Ephraim Ari Aryeh Boaz Binyamin Baruch Guy Gil David Zeev Chaim "
        "Yehuda Yehonatan Yehoshua Yoav Yonatan Yosef Yaakov Yitzchak Israel Levi Meir Menachem Mordechai Moshe Nadav Natan Omer Ofer Tzvi Shaul Shlomo "
        "Shmuel Shimon Tomer "
        "Abramowitz Adler Ohana Azoulay Alon Epstein Ashkenazi Biton Blum Berger Berman Bernstein Berkowitz Gabbay Goldberg Goldman Goldstein Golan "
        "Gottlieb Glick Gross Grossman Dahan Dayan Deri Hoffman Horowitz Hirsch Halevi Hershkowitz Wolf Weiss Weinberg Weizman Silberman Singer Hadad Hazan "
        "Toledano Yitzhaki Cohen Kahana Katz Levi Levin Leibowitz Lieberman Lifshitz Landau Lerner Mizrahi Maimon Melamed Mandel Nahmias Segal Salomon "
        "Vogel Pollack Fuchs Finkelstein Fishman Feldman Friedman Frankel Peretz Kaufman Klein Kaplan Rabinowitz Rubin Rosen Rosenberg Rosenthal Rothman "
        "Schwartz Shulman Stein Stern Schechter Schneider Shapira Sasson",
    ),
    "hi_IN": _pairs(
        "आभा अदिती अमिता अंकिता अर्चना आशा चेतना दीपाली दीप्ति दिव्या दुर्गा गीता इला इन्दिरा इन्दु जया कल्पना कमला लक्ष्मी लता लीला माधवी मधु माया मीरा "
        "नेहा निशा पार्वती प्रतिभा प्रिया पुष्पा रचना राधा रजनी रश्मी सरला सीता शीला शोभा सुनीता सुशीला तारा उमा उषा विमला "
        "अभय आदित्य अजित अखिल अमित अनिल अंकुर अनुज अर्जुन अरुण अशोक दीपक दिलीप दिनेश गणेश गौतम गोपाल जगदीश जितेन्द्र कपिल किरण कुणाल ललित मोहन मुकेश "
        "नवीन निखिल प्रकाश प्रमोद राहुल राजीव राजेन्द्र राजेश राकेश रवि रोहन सचिन संजय संजीव सतीश सुभाष सुधीर सुनील सुरेश विजय विक्रम विनय विशाल विवेक "
        "शर्मा भट वर्मा गुप्ता मल्होत्रा भटनागर सक्सेना कपूर सिंह चोपरा सरीन सैनी जैन कौल खत्री गोयल तिवारी भरद्वाज प्रसाद अगरवाल अहलूवालिया टंडन आहूजा "
        "अरोरा चतुर्वेदी सेनगुप्ता बनर्जी चक्रवर्ती भट्टाचार्य नायर मेनन पिल्लई राव रेड्डी द्विवेदी मिश्रा त्रिवेदी झा शुक्ला यादव सिन्हा चौहान मिस्त्री "
        "श्रीवास्तव शाह मेहता पटेल लोबो",
        "Abha Aditi Amita Ankita Archana Asha Chetna Deepali Deepti Divya Durga Geeta Ila Indira Indu Jaya Kalpana Kamala Lakshmi Lata Leela Madhavi "
        "Madhu Maya Meera Neha Nisha Parvati Pratibha Priya Pushpa Rachna Radha Rajni Rashmi Sarla Sita Sheela Shobha Sunita Sushila Tara Uma Usha Vimla "
        "Abhay Aditya Ajit Akhil Amit Anil Ankur Anuj Arjun Arun Ashok Deepak Dilip Dinesh Ganesh Gautam Gopal Jagdish Jitendra Kapil Kiran Kunal Lalit "
        "Mohan Mukesh Naveen Nikhil Prakash Pramod Rahul Rajeev Rajendra Rajesh Rakesh Ravi Rohan Sachin Sanjay Sanjeev Satish Subhash Sudhir Sunil Suresh "
        "Vijay Vikram Vinay Vishal Vivek "
        "Sharma Bhat Verma Gupta Malhotra Bhatnagar Saxena Kapoor Singh Chopra Sarin Saini Jain Kaul Khatri Goyal Tiwari Bhardwaj Prasad Agarwal Ahluwalia "
        "Tandon Ahuja Arora Chaturvedi Sengupta Banerjee Chakravarty Bhattacharya Nair Menon Pillai Rao Reddy Dwivedi Mishra Trivedi Jha Shukla Yadav Sinha "
        "Chauhan Mistry Srivastava Shah Mehta Patel Lobo",
    ),
    "mr_IN": _pairs(
        "अंजली अनिता अनुष्का अपर्णा आकांक्षा आशा कविता कोमल गौरी ज्योती तन्वी दीपाली नेहा पल्लवी पूजा प्रज्ञा माधुरी मानसी मीनल मेघा रेणुका रोहिणी वैशाली "
        "शिल्पा श्रुती स्मिता स्वाती स्नेहा "
        "अभिजीत अभिषेक अमोल अनिरुद्ध आकाश उमेश गौरव चेतन दत्तात्रेय धनंजय निलेश पंकज प्रवीण प्रशांत भूषण मकरंद मंगेश मिलिंद रोहित विकास विनायक समीर हर्षद "
        "आगरकर अहेर ओक कदम कांबळे कुलकर्णी कोल्हे गवळी गायकवाड चव्हाण चौगुले जगताप जाधव जोशी ठाकूर देशमुख देशपांडे पाटील पवार फडके भोसले महाजन माने मोरे "
        "राऊत शिंदे शिरसाट साळुंखे साने सावंत",
        "Anjali Anita Anushka Aparna Akanksha Asha Kavita Komal Gauri Jyoti Tanvi Deepali Neha Pallavi Pooja Pradnya Madhuri Mansi Meenal Megha Renuka "
        "Rohini Vaishali Shilpa Shruti Smita Swati Sneha "
        "Abhijit Abhishek Amol Aniruddha Akash Umesh Gaurav Chetan Dattatray Dhananjay Nilesh Pankaj Praveen Prashant Bhushan Makarand Mangesh Milind "
        "Rohit Vikas Vinayak Sameer Harshad "
        "Agarkar Aher Oak Kadam Kamble Kulkarni Kolhe Gavli Gaikwad Chavan Chougule Jagtap Jadhav Joshi Thakur Deshmukh Deshpande Patil Pawar Phadke "
        "Bhosale Mahajan Mane More Raut Shinde Shirsat Salunkhe Sane Sawant",
    ),
    "bn_BD": _pairs(
        "অর্পিতা অঞ্জনা অনন্যা আলিয়া ইশিতা কবিতা খুশি ডলি নন্দিতা প্রিয়াঙ্কা বিপাশা মিথিলা মিম রিনা আফিয়া আসিফা আফসানা আয়েশা তাসনিম তামান্না নুসরাত ফৌজিয়া "
        "ফারিহা মোনালিসা মালিহা রাজিয়া শারমিন সানজিদা সুমাইয়া "
        "আবির তন্ময় তুষার মিলন লিটন শাওন সজীব রাজু জয়ন্ত প্রদীপ মনোজ শেখর আবু আজাদ আসাদ আনিস আজম ইকবাল ইউসুফ ইশতিয়াক ইমতিয়াজ এনামুল করিম তামিম নাদিম "
        "মোস্তাফিজ মুশফিক রায়হান রহিম রাশেদ রাসেল শাহজাহান শহিদুল সাব্বির "
        "চৌধুরী তালুকদার প্রামানিক বিশ্বাস মৃধা মজুমদার মোড়ল মন্ডল সরকার সিনহা গাঙ্গুলি ঘোষ চ্যাটার্জি ঠাকুর দত্ত দাস দে দাশগুপ্তা পাল পোদ্দার ব্যানার্জি বোস "
        "বর্মন বাগচী মুখার্জি সাহা সেন রায় আলি আক্তার আলম আবদুল্লাহ ইসলাম উদ্দিন কাদের খান জামান হোসাইন হক হাকিম রহমান জাহান",
        "Arpita Anjana Ananya Aliya Ishita Kabita Khushi Dolly Nandita Priyanka Bipasha Mithila Mim Rina Afia Asifa Afsana Ayesha Tasnim Tamanna Nusrat "
        "Fouzia Fariha Monalisa Maliha Razia Sharmin Sanjida Sumaiya "
        "Abir Tanmoy Tushar Milon Liton Shaon Sajib Raju Jayanta Pradip Manoj Shekhar Abu Azad Asad Anis Azam Iqbal Yusuf Ishtiaq Imtiaz Enamul Karim "
        "Tamim Nadim Mostafiz Mushfiq Raihan Rahim Rashed Russel Shahjahan Shahidul Sabbir "
        "Chowdhury Talukder Pramanik Biswas Mridha Majumder Morol Mondal Sarker Sinha Ganguly Ghosh Chatterjee Tagore Dutta Das Dey Dasgupta Paul Podder "
        "Banerjee Bose Barman Bagchi Mukherjee Saha Sen Roy Ali Akter Alam Abdullah Islam Uddin Quader Khan Zaman Hossain Haque Hakim Rahman Jahan",
    ),
}
LETTERS = ("ko_KR", *ALPHABETS, *CONSONANTS)


def latin(name: str, origin: str) -> str:
    """A name of `origin` in Latin letters, capitalised; ValueError for a letter that is in no table."""
    if origin == "ko_KR":
        written = SURNAMES.get(name) or "".join(map(_syllable, name))
    else:
        spell = _spelt if origin in ALPHABETS else _indic
        parts = unicodedata.normalize("NFC", name).lower().replace("-", " - ").split()
        written = " ".join(spell(part, origin) for part in parts).replace(" - ", "-")
    if not written.replace("-", "").replace(" ", "").isascii():
        raise ValueError(f"{origin}: a letter in no table")
    return written.title()


def _syllable(sign: str) -> str:
    written = unicodedata.name(sign).split()[-1].lower().replace("yi", "ui")
    last = {"g": "k", "b": "p", "d": "t"}.get(written[-1])
    return written[:-1] + last if last and not written.endswith("ng") else written


def _spelt(word: str, origin: str) -> str:
    table = ALPHABETS[origin]
    if origin == "bg_BG":
        word = word.replace("ьо", "йо")
        word = word[:-1] + "а" if word.endswith("ия") else word
    word = "".join(sign for sign in word if sign not in "ь'’ʼ").replace("եւ", "և")
    word = word.replace("ու", table.get("ու", "ու"))
    first = INITIAL.get(origin, {}).get(word[0])
    return (first or table.get(word[0], word[0])) + "".join(table.get(sign, sign) for sign in word[1:])


def _indic(word: str, origin: str) -> str:
    """Letter by letter; Nepali leaves the last inherent vowel out, unless two consonants come before it."""
    consonants, vowels, signs = CONSONANTS[origin], VOWELS[origin], SIGNS[origin]
    pieces, joined = [], False
    word = [sign for sign in word if sign not in "\u200c\u200d"]
    for place, sign in enumerate(word):
        if sign in consonants:
            follows = word[place + 1] if place + 1 < len(word) else ""
            ends = origin == "ne_NP" and not follows and not joined and place > 0
            pieces.append(consonants[sign] + ("" if ends or follows and follows in [*signs, *VIRAMAS] else "a"))
            joined = False
        elif sign in VIRAMAS:
            joined = True
        else:
            pieces.append("n" if sign in NASALS else (vowels | signs).get(sign, sign))
    return "".join(pieces).replace("ngg", "ng").replace("ke.si.", "k.c.")
